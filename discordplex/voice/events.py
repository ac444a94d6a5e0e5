"""The events of a voice connection."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Lost:
    """The voice connection is lost. `final`: for good, and the bot has left the channel; otherwise it is being repaired already."""

    reason: str
    """A plain sentence."""
    code: int | None
    """The voice gateway's close code, where there was one."""
    final: bool
    may_retry: bool = True
    """False where the bot was removed on purpose: joining again by itself would be against somebody's will."""


@dataclass(frozen=True, slots=True)
class PersonJoined:
    """Somebody is in the channel; those who were there before us come as well."""

    user_id: int


@dataclass(frozen=True, slots=True)
class CannotHear:
    """Somebody speaks and is not heard, and what can be done about it was tried."""

    speaker: int
    """Their user id, or their SSRC where nobody has said who they are."""
    reason: str
    """Why, as a part of a sentence."""


@dataclass(frozen=True, slots=True)
class HearsAgain:
    """Somebody is heard after a `CannotHear`."""

    speaker: int


ConnectionEvent: TypeAlias = Lost | PersonJoined | CannotHear | HearsAgain
