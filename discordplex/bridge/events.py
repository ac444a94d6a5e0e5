"""The events that a call reports to the bot. Facts only: the sentences for people are made in `bot/texts/calls.py`."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from discordplex.engine import EngineInfo, PersonaIgnored, SpeakerId


@dataclass(frozen=True, slots=True)
class Opening:
    """The engine is being opened for the first time in this call; nobody is heard yet."""


@dataclass(frozen=True, slots=True)
class StillOpening:
    """An engine is being opened, for the first time or again, and takes long; at most once per try."""

    waited_s: float
    """Seconds that this try has taken so far."""


@dataclass(frozen=True, slots=True)
class Listening:
    """The engine is there for the first time: people are heard from now on. At most once per call."""


@dataclass(frozen=True, slots=True)
class EngineLost:
    """The engine could not be opened, or went away; it is tried again. Comes once for each failed try."""

    reason: str
    """A plain sentence."""
    retry_in_s: float
    """Seconds until the next try; 0 where the next conversation is being opened already."""


@dataclass(frozen=True, slots=True)
class EngineReplaced:
    """The engine is lost for good, and one of another kind takes its place; the lease says which. It is opened next."""

    lost: EngineInfo
    reason: str
    """Why it was lost: a plain sentence."""


@dataclass(frozen=True, slots=True)
class EngineBack:
    """The engine is there again after `EngineLost`, or another one after `EngineReplaced`; only in a call that was `Listening` before."""


@dataclass(frozen=True, slots=True)
class Renewing:
    """The engine's conversation is at its end, and no second slot is free: it is opened again.

    Nobody is heard until `HandedOver`, or until `EngineBack` where that fails.
    """


@dataclass(frozen=True, slots=True)
class UnheardInRenewal:
    """Somebody speaks after `Renewing` and is not heard; at most once each time."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """From now on people talk with the engine's next conversation. Voice and role are the same, and it knows what was said."""

    in_place: bool = False
    """Whether the old one was closed first, after `Renewing`."""
    unheard_s: float = 0.0
    """For how long nobody was heard."""


@dataclass(frozen=True, slots=True)
class Caption:
    """One stretch of speech as text, so far. A later caption of the same key replaces it."""

    key: int
    """The same for one stretch, greater for each later one; numbers may be skipped."""
    text: str
    """The whole stretch up to now, never empty, without leading space."""
    final: bool
    """Nothing more comes for this key."""
    speaker: SpeakerId | None
    """Who said it, None for the engine and for a person whom the engine could not tell apart."""
    role: Literal["engine", "person"] = "engine"
    began_at: float | None = None
    """When it began to be said, in seconds of the process's clock; None where the engine does not know it of a person."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something failed and the call continues. `message` is a plain sentence."""

    message: str
    service: str = ""
    cause: str = ""
    """A short code for logs: the sentence may quote a server."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The call is over. The last event, after the last caption; exactly once for each call that was run."""

    reason: str | None
    """A plain sentence, None where the call ended as asked."""
    busy: bool = False
    """The engine's server has no place for the call, or not any more: its people wait for one."""


CallEvent: TypeAlias = (
    Opening
    | StillOpening
    | Listening
    | EngineLost
    | EngineReplaced
    | EngineBack
    | Renewing
    | UnheardInRenewal
    | HandedOver
    | PersonaIgnored
    | Caption
    | Trouble
    | Ended
)
"""`PersonaIgnored` comes after `Listening`, `EngineBack` or `HandedOver`, for each engine that keeps its own voice and role."""
