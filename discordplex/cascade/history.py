"""What was said in a call, as the chat model shall see it, bounded by tokens. Pure."""

import itertools
from collections import deque
from dataclasses import dataclass
from typing import Literal

CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English; other scripts need more tokens, so the bound is soft."""
MESSAGE_OVERHEAD_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; `name` is the speaker's display name, "" for the engine."""

    role: Literal["user", "assistant"]
    text: str
    name: str = ""

    @property
    def tokens(self) -> int:
        """An estimate of what it costs."""
        return MESSAGE_OVERHEAD_TOKENS + (len(self.text) + len(self.name)) // CHARACTERS_PER_TOKEN

    def as_chat(self) -> dict[str, str]:
        """As the chat API takes it. The name goes into the text: the API's own `name` forbids most letters that people use."""
        return {"role": self.role, "content": f"{self.name}: {self.text}" if self.name else self.text}


class History:
    """The newest messages that fit into `max_tokens`; the oldest are forgotten."""

    def __init__(self, *, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._messages: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: Message) -> None:
        """Remember a message, forgetting the oldest beyond the bound. The newest always stays."""
        self._messages.append(message)
        while len(self._messages) > 1 and sum(kept.tokens for kept in self._messages) > self._max_tokens:
            self._messages.popleft()

    def reset(self) -> None:
        """Forget everything. A reply that was being given is not known afterwards either: `as_chat` begins with people."""
        self._messages.clear()

    def as_chat(self, system_prompt: str) -> list[dict[str, str]]:
        """The persona and everything remembered, oldest first, as the chat API takes it.

        What several people said in a row is one message: many models insist on turns that alternate and begin with people.
        """
        chat = [{"role": "system", "content": system_prompt}]
        for message in itertools.dropwhile(lambda message: message.role == "assistant", self._messages):
            one = message.as_chat()
            if one["role"] == chat[-1]["role"]:
                chat[-1]["content"] += f"\n{one['content']}"
            else:
                chat.append(one)
        return chat
