"""Think: the conversation so far to the reply, delta by delta."""

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from discordplex.clock import Clock
from discordplex.plaintext import drawn
from discordplex.services.clients import Clients, Request
from discordplex.services.faults import ServiceError, failed, no_api_error, raise_error_in
from discordplex.services.service import Service

PATH: Final = "/chat/completions"
MOST_CHARACTERS: Final = 200_000
"""Limit of one reply, including the model's reasoning. `turn.py` takes far less of what is to be spoken."""
DELTA_CHARACTERS: Final = 1_000
"""A longer delta is passed on in pieces, so that the next steps never work on much text at once."""
SPOKEN_PARTS: Final = ("text", "output_text", "refusal", "")
"""Kinds of content parts that are spoken; others hold reasoning, tool calls or pictures."""
THOUGHTS: Final = ("reasoning_content", "reasoning", "reasoning_details", "thinking")


class ChatModel:
    """The chat service of one call."""

    def __init__(self, clients: Clients, service: Service, clock: Clock) -> None:
        self._clients = clients
        self.service = service
        self._clock = clock

    async def reply_to(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[str, None]:
        """Stream the reply's text, in pieces of at most `DELTA_CHARACTERS`.

        Raises ServiceError. Close the generator if you leave it early: that ends the request.
        """
        service, length, thought, reply = self.service, 0, False, OneReply()
        body = {"model": service.model, "messages": list(messages), "stream": True}
        try:
            async with self._clients.ask(service, Request(PATH, body), self._clock) as answer:
                if await answer.is_page():
                    raise no_api_error(service)
                async with contextlib.aclosing(answer.messages()) as found:
                    async for message in found:
                        raise_error_in(message, service)
                        delta = reply.delta_of(message)
                        thought = thought or any(delta.get(name) for name in THOUGHTS)
                        text = drawn(text_of(delta))
                        length += len(text)
                        if length > MOST_CHARACTERS:
                            raise failed(service, f"does not stop writing. Try another {service.model_setting}.", "too much text")
                        for start in range(0, len(text), DELTA_CHARACTERS):
                            yield text[start : start + DELTA_CHARACTERS]
        except ServiceError as fault:
            if thought and not length and fault.cause in ("too late", "too much data"):
                raise only_thought(service, fault.cause) from fault
            raise
        if not length:
            raise only_thought(service, "only thoughts") if thought else no_reply(service)


def no_reply(service: Service) -> ServiceError:
    """The error for a reply without text."""
    return failed(service, f"wrote no reply. Look at {service.model_setting} and {service.setting('extra')}.", "no reply")


def only_thought(service: Service, cause: str) -> ServiceError:
    """The error for a model that reasoned until its time, its tokens or our limit were used up."""
    what = (
        f"only thought, and wrote no answer. Let it think less with {service.setting('extra')}, choose another {service.model_setting}, "
        f"or raise {service.setting('total_timeout_s')}."
    )
    return failed(service, what, cause)


class OneReply:
    """Selects the first of several replies that a server may write at once."""

    def __init__(self) -> None:
        self._index: object = None
        self._has_deltas = False

    def delta_of(self, message: Any) -> Mapping[str, Any]:
        """What one message adds: a stream's delta, or the whole message where nothing was streamed; empty where it has neither.

        Some servers end a stream with the whole message once more.
        """
        choices = message.get("choices") if isinstance(message, Mapping) else None
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, Mapping):
                continue
            index = choice.get("index") or 0
            if self._index is None:
                self._index = index
            if index == self._index:
                return self._added(choice)
        return {}

    def _added(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        found = choice.get("delta")
        if isinstance(found, Mapping) and found:
            self._has_deltas = self._has_deltas or bool(text_of(found))
            return found
        found = choice.get("message") or {"content": choice.get("text")}
        return found if isinstance(found, Mapping) and not self._has_deltas else {}


def text_of(delta: Mapping[str, Any]) -> str:
    """The text that is to be spoken: a string, or the parts of a list that are text."""
    content = delta.get("content") or delta.get("refusal")
    if isinstance(content, list):
        return "".join([part_text(part) for part in content])
    return part_text(content)


def part_text(part: Any) -> str:
    """The text of one content part, "" where it is not to be spoken."""
    if isinstance(part, Mapping) and part.get("type", "") in SPOKEN_PARTS:
        part = part.get("text") or part.get("refusal")
        part = part.get("value") if isinstance(part, Mapping) else part
    return part if isinstance(part, str) else ""
