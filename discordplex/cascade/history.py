"""History: what was said in a call, as the chat model gets it, limited in tokens, characters and messages. Pure."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from discordplex.engine import Recap, SpeakerId
from discordplex.plaintext import one_line

CHARACTERS_PER_TOKEN = 4
"""OpenAI's rule of thumb for English. Other scripts need more tokens, so the limit is approximate."""
MESSAGE_OVERHEAD_TOKENS = 4

LONGEST_MESSAGE_CHARACTERS: Final = 8000
"""More than a reply or an utterance has. Longer text is cut, because the newest message is always kept."""
NOT_WRITTEN_DOWN: Final = "(This call has lasted for a while. What people said before was not written down.)"
MOST_MESSAGES: Final = 1000
MOST_CHARACTERS: Final = 400_000
"""The limit where `history_tokens` allows more."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; `name` is the speaker's display name, "" for the engine.

    `sources` are the people whose words it holds or was made from: the speaker, or for a reply everybody whose words its request carried.
    """

    role: Literal["user", "assistant"]
    text: str
    name: str = ""
    sources: frozenset[SpeakerId] = frozenset()

    @property
    def characters(self) -> int:
        """Its size in memory and in a request."""
        return len(self.text) + len(self.name)

    @property
    def tokens(self) -> int:
        """An estimate of its tokens."""
        return MESSAGE_OVERHEAD_TOKENS + self.characters // CHARACTERS_PER_TOKEN

    def as_chat(self) -> dict[str, str]:
        """As the chat API takes it. The name is part of the text: the API's own `name` forbids most letters that people use."""
        return {"role": self.role, "content": f"{self.name}: {self.text}" if self.name else self.text}


class History:
    """The newest messages that fit into `max_tokens`; the oldest are dropped.

    Each message is one line, so that no name and no words can look like somebody else's line.
    """

    def __init__(self, *, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self._messages: deque[Message] = deque()
        self._tokens = 0
        self._characters = 0

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def sources(self) -> frozenset[SpeakerId]:
        """Everybody whose words a request with this history carries."""
        return frozenset().union(*(message.sources for message in self._messages))

    def add(self, message: Message) -> None:
        """Append a message and drop the oldest beyond the limits. The newest is always kept."""
        message = replace(message, text=one_line(message.text, LONGEST_MESSAGE_CHARACTERS))
        self._messages.append(message)
        self._tokens += message.tokens
        self._characters += message.characters
        while len(self._messages) > 1 and self._is_too_much:
            oldest = self._messages.popleft()
            self._tokens -= oldest.tokens
            self._characters -= oldest.characters

    def recall(self, recap: Recap) -> None:
        """Begin with what was said in this call to another engine. The engine's words may quote anybody in it."""
        if recap.summary:
            self.add(Message("user", f"What was said so far, in short: {recap.summary}", sources=recap.people))
        elif recap.turns and recap.turns[0].role == "engine":
            self.add(Message("user", NOT_WRITTEN_DOWN))  # a chat begins with a person
        for turn in recap.turns:
            if turn.role == "engine":
                self.add(Message("assistant", turn.text, sources=recap.people))
            else:
                self.add(Message("user", turn.text, turn.name, frozenset() if turn.speaker is None else frozenset({turn.speaker})))

    def reset(self) -> None:
        """Drop everything."""
        self._keep(lambda _: False)

    def forget(self, speaker: SpeakerId) -> None:
        """Drop what this person said and every answer that was made from it.

        An answer to somebody else may quote this person, so every reply whose request carried their words is dropped. What others said
        themselves stays.
        """
        self._keep(lambda message: speaker not in message.sources)

    def as_chat(self, system_prompt: str) -> list[dict[str, str]]:
        """The persona and all messages, oldest first, as the chat API takes them.

        What several people said in a row becomes one message: many models require turns that alternate and begin with a person.
        """
        chat = [{"role": "system", "content": system_prompt}]
        for role, messages in itertools.groupby(self._since_first_person(), key=lambda message: message.role):
            lines = [message.as_chat()["content"] for message in messages]
            chat.append({"role": role, "content": "\n".join(lines)})
        return chat

    def _since_first_person(self) -> Iterable[Message]:
        return itertools.dropwhile(lambda message: message.role == "assistant", self._messages)

    @property
    def _is_too_much(self) -> bool:
        return self._tokens > self._max_tokens or self._characters > MOST_CHARACTERS or len(self._messages) > MOST_MESSAGES

    def _keep(self, wanted: Callable[[Message], bool]) -> None:
        self._messages = deque(message for message in self._messages if wanted(message))
        self._tokens = sum(message.tokens for message in self._messages)
        self._characters = sum(message.characters for message in self._messages)
