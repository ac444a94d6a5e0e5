"""What happened at a stand-in realtime server: the kinds of records. `client` counts the sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from discordplex.loopback.log import Record


@dataclass(frozen=True, slots=True)
class SessionConnected(Record):
    """The upgrade succeeded."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class UpgradeRefused(Record):
    """A request was answered with an HTTP error instead of an upgrade."""

    status: int


@dataclass(frozen=True, slots=True)
class EventReceived(Record):
    """A client's event came, valid or not; sound is a record of its own."""

    type: str
    event: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AudioAppended(Record):
    """Sound came: its bytes of PCM, and the time since the last."""

    size: int
    gap_ms: float


@dataclass(frozen=True, slots=True)
class EventSent(Record):
    """An event is sent. `audio_bytes` is the PCM in it; `event` has the sound left out."""

    type: str
    event: Mapping[str, Any] = field(default_factory=dict)
    audio_bytes: int = 0


@dataclass(frozen=True, slots=True)
class EventRefused(Record):
    """A client's event was answered with an error."""

    type: str
    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class InvalidEventSent(Record):
    """The stand-in itself broke the protocol, in the eyes of the SDK's types: an error of the stand-in."""

    type: str
    why: str


@dataclass(frozen=True, slots=True)
class SessionClosed(Record):
    """The connection is over. `code` is the one in the first close frame; 1006 where there was none."""

    code: int
    by: Literal["client", "server", "network"]
