"""The watchdog of a call: checks twice a second whether people are heard, repairs what it can, and reports what it cannot."""

from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Protocol, TypeVar

import anyio
import structlog

from discordplex.clock import Clock
from discordplex.metrics import Metrics
from discordplex.voice.close_codes import Closing, Repair
from discordplex.voice.deafness import Deafness, Finding, HeardAgain, Remedy, Symptom
from discordplex.voice.events import CannotHear, ConnectionEvent, HearsAgain
from discordplex.voice.rtp.receiver import EVERYBODY
from discordplex.voice.session import DiscordVoiceSession

log = structlog.get_logger()

Life = TypeVar("Life")

LOOK_S = 0.5

NOT_DECRYPTED = "their sound arrives, and it cannot be decrypted"
NOT_DECODED = "their sound arrives, and it cannot be decoded"
NOT_NAMED = "their sound arrives, and Discord does not say whose it is"
ABSENT = "Discord says that they speak, and nothing of it arrives"

RECONNECTS = {
    Symptom.UNREADABLE: "somebody in the voice channel speaks and is not heard",
    Symptom.ABSENT: "somebody in the voice channel speaks and is not heard",
    Symptom.DEAD_PATH: "nothing arrives from Discord's voice server any more",
}


class VoiceFlags(Protocol):
    """The voice state of a person in the channel, as `discord.VoiceState` has it."""

    mute: bool
    self_mute: bool
    suppress: bool
    deaf: bool
    self_deaf: bool


class Watchdog:
    """Watches one call over all of its voice sessions. For the loop only."""

    def __init__(
        self,
        *,
        live_session: Callable[[], DiscordVoiceSession | None],
        excused: Callable[[frozenset[int | None]], Container[int | None]],
        tell: Callable[[ConnectionEvent], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`live_session`: the session with audio, if there is one. `excused`: who need not be heard, given whose streams have a name."""
        self._live_session = live_session
        self._excused = excused
        self._tell = tell
        self._clock = clock
        self._metrics = metrics
        self._deafness = Deafness()
        self._session: DiscordVoiceSession | None = None
        self._ended: DiscordVoiceSession | None = None
        """The session that it has ended. It may stay live for a moment, and is not looked at again."""

    async def during(self, life: Awaitable[Life]) -> Life:
        """Watch until `life` is over, and return its result."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, name="voice watchdog")
            given = await life
            tasks.cancel_scope.cancel()
        return given

    async def _run(self) -> None:
        while True:
            await self._clock.sleep_until(self._clock.now() + LOOK_S)
            session = self._live_session()
            if session is not None and session is not self._ended:
                self._look(session)

    def _look(self, session: DiscordVoiceSession) -> None:
        now = self._clock.now()
        if session is not self._session:
            self._session = session
            self._deafness.begin_session(now)
        stream_counts = session.receiver.stream_counts()
        excused = self._excused(frozenset(counts.user_id for counts in stream_counts))
        encrypted = session.e2ee.encrypted
        findings = self._deafness.look(now, stream_counts, excused=excused, encrypted=encrypted, path_silent_s=session.path_silent_s)
        if self._deafness.in_doubt or session.path_owes_answer:
            session.ask_path()
        for finding in findings:
            self._act_on(finding, session, named=frozenset(counts.user_id for counts in stream_counts))

    def _act_on(self, finding: Finding, session: DiscordVoiceSession, *, named: Container[int | None]) -> None:
        if isinstance(finding, HeardAgain):
            self._tell(HearsAgain(finding.speaker))
            return
        self._metrics.counter(f"voice.deaf.{finding.remedy.name.lower()}").add()
        log.warning("speaker not heard", speaker=finding.speaker, symptom=finding.symptom.name, remedy=finding.remedy.name)
        if finding.remedy is Remedy.REKEY:
            session.rejoin_group()
        elif finding.remedy is Remedy.RECONNECT:
            self._ended = session
            session.stop(Closing(Repair.REJOIN, RECONNECTS[finding.symptom]))
        elif finding.speaker is not None:
            why = why_not_heard(finding.symptom, encrypted=session.e2ee.encrypted, named=finding.speaker in named)
            self._tell(CannotHear(finding.speaker, why))


def why_not_heard(symptom: Symptom, *, encrypted: bool, named: bool) -> str:
    """The part of a sentence that says why somebody is not heard."""
    if symptom is Symptom.ABSENT:
        return ABSENT
    if encrypted:
        return NOT_DECRYPTED
    return NOT_DECODED if named else NOT_NAMED


def excused(
    flags: Mapping[int, VoiceFlags], *, own_id: int, ignored: Container[int | None], named: Container[int | None]
) -> Container[int | None]:
    """The people who need not be heard: those who are muted, and everybody while we are deaf or have to ignore everybody.

    None stands for streams without a name. It is included if somebody in the channel is ignored and has no `named` stream: the stream may
    be theirs.
    """
    own = flags.get(own_id)
    if ignored is EVERYBODY or (own is not None and (own.deaf or own.self_deaf)):
        return EVERYBODY
    dropped = {user_id for user_id in flags if user_id in ignored}
    found: set[int | None] = {user_id for user_id, one in flags.items() if one.mute or one.self_mute or one.suppress or user_id in dropped}
    if any(user_id not in named for user_id in dropped):
        found.add(None)
    return found
