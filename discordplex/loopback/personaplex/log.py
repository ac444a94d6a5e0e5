"""What happened at a stand-in PersonaPlex server: the kinds of records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from discordplex.loopback.log import Record


@dataclass(frozen=True, slots=True)
class Connected(Record):
    """The upgrade succeeded. It does not mean that the server will listen."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused(Record):
    """The query was invalid, and the connection was closed right after its upgrade."""

    why: str


@dataclass(frozen=True, slots=True)
class PromptsLoading(Record):
    """The client has the lock, and its prompts are being loaded."""


@dataclass(frozen=True, slots=True)
class MessageDiscarded(Record):
    """A message came before the handshake and was discarded."""

    size: int


@dataclass(frozen=True, slots=True)
class HandshakeSent(Record):
    """The handshake was sent, with the persona in force by then: another client's, where one has connected meanwhile."""

    voice: str
    text_prompt: str


@dataclass(frozen=True, slots=True)
class AudioReceived(Record):
    """An audio message was decoded."""

    size: int
    samples: int


@dataclass(frozen=True, slots=True)
class AudioSent(Record):
    """An audio message was sent."""

    size: int


@dataclass(frozen=True, slots=True)
class TextSent(Record):
    """A piece of text was sent."""

    piece: str


@dataclass(frozen=True, slots=True)
class MessageIgnored(Record):
    """A message without use for the server came, and was ignored."""

    kind: int | None


@dataclass(frozen=True, slots=True)
class Pinged(Record):
    """A WebSocket ping came."""

    size: int = 0
    """Of its payload."""


@dataclass(frozen=True, slots=True)
class Crashed(Record):
    """The audio loop failed."""

    why: str


@dataclass(frozen=True, slots=True)
class ConversationClosed(Record):
    """The conversation is over. `code` is what the client will have seen or has sent; 1006 where there was none."""

    code: int
    by: Literal["client", "server", "network"]
