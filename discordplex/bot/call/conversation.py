"""Conversation: a call's conversation with its engine, from the first try to open it to the last caption; pause, restart, rescue."""

from collections.abc import Callable
from typing import Any

import structlog

from discordplex.audio.source import StreamingPlaybackSource
from discordplex.bot.call.announcer import Announcer
from discordplex.bot.call.captions import CallCaptions
from discordplex.bot.call.state import CallState
from discordplex.bridge.events import (
    CallEvent,
    Caption,
    Ended,
    EngineBack,
    EngineLost,
    EngineReplaced,
    HandedOver,
    Listening,
    Opening,
    Renewing,
    StillOpening,
    Trouble,
    UnheardInRenewal,
)
from discordplex.bridge.handover_timing import HandoverRule
from discordplex.bridge.ports import Ears, SpeechSink, VoiceLink
from discordplex.bridge.recap import RecapKeeper, SummaryModel
from discordplex.bridge.session import VoiceSession
from discordplex.clock import Clock
from discordplex.engine import EngineLease, MovableLease, PersonaIgnored, RememberingLease, ReplaceableLease, SpeakerId, TurnTakingLease
from discordplex.metrics import Metrics

log = structlog.get_logger()

WAITING = "waiting for the engine"
LISTENING = "listening"
RENEWING = "starting a new conversation with the engine"


class Conversation:
    """The conversation of one call with its engine. `run` it once; other methods may be called before and meanwhile. Thread: loop."""

    def __init__(
        self,
        state: CallState,
        *,
        announcer: Announcer,
        captions: CallCaptions,
        lease: EngineLease,
        ears: Ears | None = None,
        summarizer: SummaryModel | None = None,
        may_summarize: Callable[[bool], bool] = lambda _: True,
        handover_rule: HandoverRule | None = None,
        source: StreamingPlaybackSource,
        clock: Clock,
        metrics: Metrics,
        on_replaced: Callable[[], None],
    ) -> None:
        """`announcer` posts what happens; `captions` gets what is said; `on_replaced` is called when the engine is of another kind.

        `summarizer` writes a summary for the engine's next conversation, if `may_summarize` says so at that time.
        """
        self.phase = "joining"
        self.listening_since: float | None = None
        """When people were first heard; None before."""
        self.lost_since: float | None = None
        """When the engine was lost; None while it is open, or was never open."""
        self._state = state
        self._announcer = announcer
        self._captions = captions
        self._lease = lease
        self._server = lease.name
        self._ears = ears
        self._summarizer = summarizer
        self._may_summarize = may_summarize
        self._handover_rule = handover_rule
        self._source = source
        self._clock = clock
        self._metrics = metrics
        self.is_ending = False
        """Whether the call was told to end."""
        self._on_replaced = on_replaced
        self._info = lease.info
        self._session: VoiceSession | None = None
        self._changing = False

    async def run(self, *, sink: SpeechSink, link: VoiceLink, quiet: bool) -> Ended:
        """Run until the engine is lost for good, and return why; or until cancelled. With `quiet`, greet only when it works."""
        self.phase = WAITING
        if not quiet:
            self._announcer.greet()
            if isinstance(self._lease, ReplaceableLease) and self._lease.stand_in:
                self._announcer.stands_in(self._lease.stand_in)
        if isinstance(self._lease, TurnTakingLease):
            self._lease.name_of = self._name_of
        ended: list[Ended] = []

        def on_event(event: CallEvent) -> None:
            if isinstance(event, Ended):
                ended.append(event)
            else:
                self._on_event(event)

        self._session = VoiceSession(
            lease=self._lease,
            persona=self._state.persona,
            sink=sink,
            source=self._source,
            link=link,
            on_event=on_event,
            may_open=self._announcer.engine_is_known,
            clock=self._clock,
            metrics=self._metrics,
            ears=self._ears,
            handover_rule=self._handover_rule,
            recap=RecapKeeper(name_of=self._name_of, summarizer=self._summarizer, may_summarize=self._may_summarize),
        )
        if self._state.paused:
            await self._session.pause()
        await self._session.run()
        return ended[0] if ended else Ended(None)

    async def pause(self) -> None:
        """Hear nobody and say nothing until `resume`."""
        if self._session:
            await self._session.pause()

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all sound and words of this speaker, who opted out, also in the engine."""
        if isinstance(self._lease, RememberingLease):
            self._lease.forget(speaker)
        if self._session:
            await self._session.forget(speaker)

    def resume(self) -> None:
        """Continue after `pause`."""
        if self._session:
            self._session.resume()

    def restart(self) -> None:
        """Open the engine again, with the call's current persona."""
        if self._session:
            self._changing = True
            self._announcer.changes()
            self._session.restart(self._state.persona)

    def reset(self) -> bool:
        """Forget what was said in this call; returns whether the engine has to start over for that, because it cannot forget."""
        if isinstance(self._lease, RememberingLease):
            self._lease.reset()
        return self._session is not None and self._session.reset()

    def replace_engine(self, reason: str) -> bool:
        """Continue with an engine of another kind, because of `reason`; returns whether one is free."""
        return self._session is not None and self._session.replace_engine(reason)

    @property
    def may_return(self) -> bool:
        """Whether the call has not the preferred kind of engine, and could change it now."""
        stands_in = isinstance(self._lease, ReplaceableLease) and self._lease.stand_in is not None
        ready = self._session is not None and self._session.may_hand_over
        return stands_in and ready and self.phase == LISTENING and not self._state.paused

    async def return_to_preferred(self) -> None:
        """If the preferred kind of engine is free, hand over to it in the next pause of everybody, once people know."""
        if not isinstance(self._lease, ReplaceableLease) or self._lease.stand_in is None:
            return
        preferred = self._lease.stand_in.preferred
        slot = self._lease.preferred_slot(lambda: None if self.is_ending else self._announcer.stays(preferred.description))
        if slot is None:
            return
        is_used = False
        try:
            self._announcer.returns(preferred.description)
            await self._announcer.engine_is_known()
            is_used = self._session is not None and self._session.hand_over_to(slot)
        finally:
            if not is_used:
                slot.give_back()

    def rescue(self) -> bool:
        """If this engine is lost, take a free one: of the same kind, else of another; returns whether there was one."""
        if not (isinstance(self._lease, MovableLease) and self._lease.relocate()):
            return self._session is not None and self._session.take_replacement()
        if self._session:
            self._session.try_now()
        return True

    @property
    def ids(self) -> dict[str, Any]:
        """The ids of the call for log lines."""
        place = self._state.voice_channel.place
        return {"guild": place.guild_id, "channel": place.channel_id, "engine": self._lease.name, "call": self._state.number}

    def _name_of(self, speaker: SpeakerId) -> str:
        return self._state.voice_channel.name_of(speaker)

    def _on_event(self, event: CallEvent) -> None:
        if isinstance(event, Caption):
            self._captions.show(event)
        elif isinstance(event, Trouble):
            log.warning("problem in a call", service=event.service, cause=event.cause, **self.ids)
            self._announcer.trouble(event.message)
        elif isinstance(event, Opening):
            self.phase = WAITING
        elif isinstance(event, StillOpening):
            self._announcer.still_opening()
        elif isinstance(event, PersonaIgnored):
            self._keeps_persona()
        elif isinstance(event, EngineLost):
            self.phase = WAITING
            self.lost_since = self._clock.now() if self.lost_since is None else self.lost_since
            self._announcer.engine_lost(event.reason)
            self.rescue()
        elif isinstance(event, EngineReplaced):
            self._replaced(event)
        elif isinstance(event, Renewing | UnheardInRenewal | HandedOver):
            self._on_handover(event)
        elif isinstance(event, Listening | EngineBack):
            self._on_engine(first=isinstance(event, Listening))

    def _replaced(self, event: EngineReplaced) -> None:
        """An engine of another kind is opened when people know of it."""
        self.phase = WAITING
        if self.listening_since is not None and self.lost_since is None:
            self.lost_since = self._clock.now()
        self._state.keeps_persona = False
        self._follow_engine()
        self._announcer.replaced(event.lost.description, event.reason)

    def _follow_engine(self) -> None:
        """The engine is of another kind now."""
        self._info = self._lease.info
        self._on_replaced()

    def _keeps_persona(self) -> None:
        if not self._state.keeps_persona:
            self._state.keeps_persona = True
            self._announcer.greet()  # the greeting had named the requested persona

    def _on_engine(self, *, first: bool) -> None:
        """The engine is open."""
        self.phase = LISTENING
        self.lost_since = None
        moved, self._server = self._lease.name != self._server, self._lease.name
        if moved:
            self._state.keeps_persona = False
        if first:
            self.listening_since = self._clock.now()
            self._announcer.listens(moved=moved)
        else:
            if self._changing:
                self._announcer.changed()
            self._announcer.engine_back(moved=moved)
            self._announcer.renewed()
        self._changing = False

    def _on_handover(self, event: Renewing | UnheardInRenewal | HandedOver) -> None:
        """The call continues in the engine's next conversation."""
        if isinstance(event, Renewing):
            self.phase = RENEWING
        elif isinstance(event, UnheardInRenewal):
            self._announcer.unheard()
        else:
            self.phase = LISTENING
            moved, self._server = self._lease.name != self._server, self._lease.name
            if self._lease.info != self._info:
                self._state.keeps_persona = False
                self._follow_engine()
                self._announcer.greet()
            log.info("call handed over", in_place=event.in_place, unheard_s=round(event.unheard_s, 2), **self.ids)
            if moved and self._state.keeps_persona:
                self._state.keeps_persona = False
                self._announcer.greet()
            if event.in_place:
                self._announcer.renewed()
