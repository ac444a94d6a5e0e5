"""Conversation: what a call has with its engine, from the first try to open it to the last caption; and how people bend it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bot.call.announcer import Announcer
from discordplex.bridge.events import (
    CallEvent,
    Caption,
    Ended,
    EngineBack,
    EngineLost,
    Listening,
    Opening,
    StillOpening,
    Trouble,
)
from discordplex.bridge.ports import HearingSink, VoiceLink
from discordplex.bridge.session import VoiceSession
from discordplex.clock import Clock
from discordplex.engine import EngineLease, MovableLease, Persona, PersonaIgnored, SpeakerId, TurnTakingLease
from discordplex.metrics import Metrics
from discordplex.plaintext import one_line

log = structlog.get_logger()

WAITING = "waiting for the engine"
LISTENING = "listening"


class Conversation:
    """One call's conversation. `run` is its whole life; wishes may come before and meanwhile. Thread: loop."""

    def __init__(
        self, *, announcer: Announcer, lease: EngineLease, source: StreamingPlaybackSource, clock: Clock, metrics: Metrics
    ) -> None:
        """`announcer` says what happens, and knows who the engine is."""
        self.phase = "joining"
        self.listening_since: float | None = None
        """Since when people are heard; None while they never were."""
        self.lost_since: float | None = None
        """Since when the engine is away; None while it is there, or was not there yet."""
        self.on_caption: Callable[[Caption], None] = lambda _: None
        """Hears of every caption that may be kept."""
        self.is_silent: Callable[[SpeakerId], bool] = lambda _: False
        """Whether somebody has asked not to be heard."""
        self._announcer = announcer
        self._lease = lease
        self._source = source
        self._clock = clock
        self._metrics = metrics
        self._session: VoiceSession | None = None
        self._paused = False
        self._changing = False
        self._wish: Persona | None = None

    async def run(self, *, persona: Persona, ears: HearingSink, link: VoiceLink, name_of: Callable[[int], str], quiet: bool) -> str | None:
        """Converse until the engine is lost for good (why), or until cancelled. `quiet` greets only once it works."""
        self.phase = WAITING
        self._announcer.persona = self._wish or persona
        if not quiet:
            self._announcer.greet()
        if isinstance(self._lease, TurnTakingLease):
            self._lease.name_of = name_of
        ended: list[str | None] = []

        def on_event(event: CallEvent) -> None:
            if isinstance(event, Ended):
                ended.append(event.reason)
            else:
                self._on_event(event)

        self._session = VoiceSession(
            lease=self._lease,
            persona=self._announcer.persona,
            sink=ears,
            source=self._source,
            link=link,
            on_event=on_event,
            clock=self._clock,
            metrics=self._metrics,
        )
        if self._paused:
            await self._session.pause()
        await self._session.run()
        return ended[0] if ended else None

    async def pause(self) -> None:
        """Neither hear nor speak until `resume`. What people said and nobody has read yet is dropped."""
        self._paused = True
        self._announcer.drop_words()
        if self._session:
            await self._session.pause()

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that is held of this speaker's sound and words, because they opted out; also what the engine holds."""
        if isinstance(self._lease, TurnTakingLease):
            self._lease.forget(speaker)
        if self._session:
            await self._session.forget(speaker)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._paused = False
        if self._session:
            self._session.resume()

    def restart(self, persona: Persona) -> None:
        """Go on as `persona`, with an engine that is opened anew."""
        self._wish = persona
        if self._session:
            self._changing = True
            self._announcer.changes(persona)
            self._session.restart(persona)

    def rescue(self) -> bool:
        """Go to a healthy engine that is free, where this one's server is set aside; whether there was one."""
        if not (isinstance(self._lease, MovableLease) and self._lease.relocate()):
            return False
        if self._session:
            self._session.try_now()
        return True

    @property
    def ids(self) -> dict[str, Any]:
        """What names the call in a log."""
        place = self._announcer.room.place
        return {"guild": place.guild_id, "channel": place.channel_id, "engine": self._lease.name, "call": self._announcer.number}

    def _on_event(self, event: CallEvent) -> None:
        if isinstance(event, Caption):
            self._on_caption(event)
        elif isinstance(event, Trouble):
            log.warning("trouble in a call", service=event.service, cause=event.cause, **self.ids)
            self._announcer.trouble(event.message)
        elif isinstance(event, Opening):
            self.phase = WAITING
        elif isinstance(event, StillOpening):
            self._announcer.still_opening()
        elif isinstance(event, PersonaIgnored):
            self._announcer.persona_ignored()
        elif isinstance(event, EngineLost):
            self.phase = WAITING
            self.lost_since = self._clock.now() if self.lost_since is None else self.lost_since
            self._announcer.engine_lost(event.reason)
            self.rescue()
        elif isinstance(event, Listening | EngineBack):
            self._on_engine(first=isinstance(event, Listening))

    def _on_caption(self, caption: Caption) -> None:
        """What somebody says goes where people were told that it goes, and nowhere else."""
        disclosure, by_person = self._announcer.disclosure, caption.role == "person"
        caption = replace(caption, text=one_line(caption.text))
        if by_person and (self._paused or (caption.speaker is not None and self.is_silent(caption.speaker))):
            return
        kept, published = disclosure.may_keep(caption), by_person and disclosure.may_publish(caption)
        disclosure.passed(caption)
        if kept and caption.text:
            self.on_caption(caption)
        if not by_person:
            self._announcer.caption(caption)
        elif published and caption.text:
            self._announcer.words(caption)

    def _on_engine(self, *, first: bool) -> None:
        """It is there."""
        self.phase = LISTENING
        self.lost_since = None
        if first:
            self.listening_since = self._clock.now()
            self._announcer.listens(self._lease.name)
        else:
            if self._changing:
                self._announcer.changed()
            self._announcer.engine_back(self._lease.name)
        self._changing = False
