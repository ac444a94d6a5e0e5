"""ChatSummary: one whole answer of the chat model, for what is written and not spoken: notes after a call, recaps in it."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from discordplex.cascade.reasoning import ReasoningFilter, Spoken
from discordplex.cascade.think import ChatModel, no_reply
from discordplex.clock import Clock
from discordplex.config import CascadeConfig
from discordplex.plaintext import with_model
from discordplex.services.clients import Clients, is_installed, not_installed
from discordplex.services.service import Service

MOST_CHARACTERS: Final = 8_000
"""Limit of an answer; the rest is not read."""


class ChatSummary:
    """Asks the chat model of `cascade.think`, outside of any conversation."""

    def __init__(self, config: CascadeConfig, *, clock: Clock) -> None:
        """Raises ConfigError where the extra is not installed; imports nothing of it."""
        if not is_installed():
            raise not_installed()
        self._service = Service.of(config, "think")
        self._clock = clock
        self.name = with_model("a chat model", config.think.model)
        """How people are told of it. No address."""

    async def answer(self, instructions: str, text: str) -> str:
        """The model's answer to a text, without its reasoning.

        Raises:
            ServiceError, ConfigError: there is none. A cancellation ends the request.
        """
        clients = await asyncio.to_thread(Clients, [self._service])
        try:
            return await self._read(ChatModel(clients, self._service, self._clock), instructions, text)
        finally:
            await clients.close()

    async def _read(self, model: ChatModel, instructions: str, text: str) -> str:
        thoughts, answer = ReasoningFilter(), ""
        messages = ({"role": "system", "content": instructions}, {"role": "user", "content": text})
        async with contextlib.aclosing(model.reply_to(messages)) as deltas:
            async for delta in deltas:
                answer = with_more(answer, thoughts.feed(delta))
                if len(answer) > MOST_CHARACTERS:
                    return answer[:MOST_CHARACTERS]
        answer = with_more(answer, thoughts.finish()).strip()
        if not answer:
            raise no_reply(self._service)
        return answer[:MOST_CHARACTERS]


def with_more(answer: str, pieces: Sequence[Spoken]) -> str:
    """The answer so far and what came; a piece that is no text says that everything before was reasoning."""
    for piece in pieces:
        answer = answer + piece if isinstance(piece, str) else ""
    return answer
