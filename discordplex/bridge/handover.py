"""Handover: keeps a call in conversation with its engine, and hands over from one conversation to the next.

A conversation ends before the call does: the model's memory is full, or the engine is lost. Where a second slot is free, the next
conversation is opened beside the live one, early enough; it hears the same sound from its first moment on, and what it says is dropped. In
the first pause of everybody it takes over. Where no second slot is free, the conversation is closed and opened again in a longer pause.

`HandoverTiming` decides when.
"""

import asyncio
from collections.abc import Callable

import structlog

from discordplex.bridge.captions import OpenCaptions
from discordplex.bridge.downlink import Downlink
from discordplex.bridge.engine_conversation import EngineConversation
from discordplex.bridge.events import CallEvent, EngineBack, EngineLost, HandedOver, Listening, Renewing, StillOpening, UnheardInRenewal
from discordplex.bridge.handover_timing import HandoverRule, HandoverTiming, NextStep
from discordplex.bridge.recap import RecapKeeper
from discordplex.bridge.retry import EngineRetries
from discordplex.bridge.uplink import Uplink
from discordplex.clock import Clock
from discordplex.engine import OVER_BUDGET, Closed, EngineLease, Persona, PersonaIgnored, SpareSlot, SpeakerId, VoiceEngine
from discordplex.engine_slots import AskingLease, RevocableSlot
from discordplex.metrics import Metrics
from discordplex.tasks import cancel_and_wait
from discordplex.tracing import ENGINE_KIND, HANDOVER, HANDOVER_RESULT, NO_SPAN, OPEN_ENGINE, UNHEARD_S, TraceSpan

log = structlog.get_logger()

SPEAKS_S = 0.2
"""Somebody whose last word was so recently is speaking."""


class Handover:
    """The conversations of one call: the live one, and at times the next one beside it. Thread: loop.

    Metrics: `handover.taken_over` (with a second slot), `handover.crossfaded` (of those, in the middle of a word), `handover.renewed` (in
    place), `handover.failed` (next conversations that failed), `handover.unheard_ms` (how long nobody was heard in a renewal).
    """

    def __init__(
        self,
        *,
        lease: EngineLease,
        uplink: Uplink,
        captions: OpenCaptions,
        new_downlink: Callable[[], Downlink],
        pause_of_people: Callable[[], float],
        recap: RecapKeeper,
        tell: Callable[[CallEvent], None],
        retries: EngineRetries,
        clock: Clock,
        metrics: Metrics,
        rule: HandoverRule | None = None,
    ) -> None:
        """`pause_of_people` says for how long no person has spoken; `tell` is called on the loop."""
        self.to_forget: set[SpeakerId] = set()
        """People who opted out while no engine was open: each engine is told before it hears anybody."""
        self._lease = lease
        self._uplink = uplink
        self._captions = captions
        self._new_downlink = new_downlink
        self._pause_of_people = pause_of_people
        self._recap = recap
        self._tell = tell
        self._retries = retries
        self._clock = clock
        self._metrics = metrics
        self._rule = rule or HandoverRule()
        self._changed = asyncio.Event()
        self._live: EngineConversation | None = None
        self._next: EngineConversation | None = None
        self._spare: SpareSlot | None = None
        self._leaving: set[asyncio.Task[Closed]] = set()
        self._timing = HandoverTiming(self._rule, None, 0.0)
        self._summary_at = self._timing.summary_at
        self._persona = Persona("", "")
        """The voice and role of every conversation; set by `hold`."""
        self._muted = False
        self._listened = False
        self._lost_told = False
        self._renewing_since: float | None = None
        self._changeover: TraceSpan = NO_SPAN
        """The change to the next conversation, while there is one."""
        self._unheard_told = False
        self._taken_over = metrics.counter("handover.taken_over")
        self._crossfaded = metrics.counter("handover.crossfaded")
        self._renewed = metrics.counter("handover.renewed")
        self._failed = metrics.counter("handover.failed")
        self._unheard_ms = metrics.histogram("handover.unheard_ms")

    @property
    def listened(self) -> bool:
        """Whether an engine was open in this call."""
        return self._listened

    @property
    def prepares(self) -> bool:
        """Whether a next conversation is being opened or stands by."""
        return self._next is not None

    @property
    def opens(self) -> bool:
        """Whether the engine that people will talk with is being opened: it has been told of the call so far."""
        return self._live is not None and self._live.ready_at is None and not self._live.is_over

    @property
    def engine(self) -> VoiceEngine | None:
        """The engine that people talk with now."""
        return self._live.engine if self._live is not None and self._live.is_live else None

    @property
    def downlink(self) -> Downlink | None:
        """What plays that engine."""
        return self._live.downlink if self.engine is not None and self._live is not None else None

    @property
    def engines(self) -> list[VoiceEngine]:
        """That engine, and the next one where it listens already."""
        return [one.engine for one in (self._live, self._next) if one is not None and one.is_live]

    # What the call says

    async def hold(self, persona: Persona) -> Closed:
        """Open the engine as `persona` and keep a conversation with it as long as possible; returns how it was lost.

        However this ends, every conversation is left, and a spare slot is given back.
        """
        self._persona = persona
        try:
            self._live = self._begin(self._lease.open(persona, self._metrics, self._recap.recap()), standby=False)
            while True:
                await self._changed.wait()
                self._changed.clear()
                lost = await self._step(self._live, self._clock.now())
                if lost is not None:
                    return lost
        finally:
            self._uplink.engine = None
            self.drop_next()
            self._end_changeover("dropped")
            live, self._live = self._live, None
            self._renewing_since, self._lost_told = None, False
            await cancel_and_wait(*([live.task] if live else []), *self._leaving)

    def hand_over_to(self, slot: SpareSlot) -> bool:
        """Prepare the next conversation in this slot now, and hand over as soon as everybody is silent; returns whether that can be done.

        The slot is given back if it fails.
        """
        if self.engine is None or self._next is not None:
            return False
        if isinstance(slot, RevocableSlot):
            if slot.is_over:
                return False
            slot.on_taken_back = self.drop_next
        self._spare = slot
        self._changeover = self._metrics.span.child(HANDOVER)
        self._next = self._begin(slot.open(self._persona, self._metrics, self._recap.recap()), standby=True)
        return True

    def mute(self, *, muted: bool) -> None:
        """Drop whatever an engine says, and let it hear silence, until this is taken back."""
        self._muted = self._uplink.deaf = muted
        for conversation in (self._live, self._next):
            if conversation is not None:
                conversation.downlink.mute = muted

    def drop_next(self) -> None:
        """Leave the next conversation, where there is one, and give its slot back. It is prepared again when it is due."""
        following, self._next = self._next, None
        spare, self._spare = self._spare, None
        self._uplink.next_engine = None
        if self._live is not None:
            self._live.downlink.play_on()
        if following is not None:
            self._end_changeover("dropped")
            self._leave(following)
        if spare is not None:
            spare.give_back()
        self.wake()

    def tick(self) -> None:
        """Time has passed; call it ten times a second."""
        now = self._clock.now()
        if now >= self._timing.due_at or self._renewing_since is not None or self._next is not None:
            self.wake()
        elif now >= self._summary_at:
            self._summary_at = float("inf")
            self._recap.prepare()

    # What a conversation says

    def wake(self) -> None:
        """Something has changed."""
        self._changed.set()

    def opens_long(self, conversation: EngineConversation, waited_s: float) -> None:
        """It takes long to open."""
        if conversation is self._live:
            self._tell(StillOpening(waited_s))

    async def is_ready(self, conversation: EngineConversation) -> None:
        """It listens from now on."""
        for speaker in tuple(self.to_forget):
            await conversation.engine.forget(speaker)
        if conversation is self._live:
            self.to_forget.clear()
            self._go_live(conversation)
            if self._renewing_since is not None:
                self._tell_renewal(self._clock.now() - self._renewing_since)
            else:
                self._tell(EngineBack() if self._listened else Listening())
            self._listened = True
        elif conversation is self._next:
            self._uplink.next_engine = conversation.engine
        self.wake()

    # What follows

    async def _step(self, live: EngineConversation, now: float) -> Closed | None:
        """Do what is due; returns how the engine was lost, where nothing follows."""
        following = self._next
        if following is not None and (following.is_over or (live.is_live and self._is_waited_for_no_longer(live, following, now))):
            self._next_failed(following, now)
            following = None
        if live.is_over:
            return self._after_loss(live, following)
        if live.ready_at is None:
            self._watch_renewal()
        elif following is None:
            await self._without_next(live, now)
        elif following.ready_at is not None and (following.downlink.has_sounded or not following.engine.caps.realtime_paced):
            self._with_next(live, following, following.ready_at, now)
        return None

    def _is_waited_for_no_longer(self, live: EngineConversation, following: EngineConversation, now: float) -> bool:
        """It opens too long; or nobody pauses, and its memory fills with what it hears: a live one that takes turns is never cut."""
        if following.is_late(self._timing, now):
            return True
        return not live.engine.caps.realtime_paced and following.is_used_up(self._rule.prepare_share, now)

    def _after_loss(self, live: EngineConversation, following: EngineConversation | None) -> Closed | None:
        """The live conversation is lost: the next one takes over, at once or when it is ready."""
        self._uplink.engine = None
        lost = live.task.result()
        if following is None:
            self._count(live, lost)
            return lost
        if following.is_live:
            log.warning("engine lost", engine=self._lease.name, cause=lost.cause, retry_in_s=0.0)
            self._take_over(live, following)
        elif not self._lost_told:
            self._lost_told = True
            log.warning("engine lost", engine=self._lease.name, cause=lost.cause, retry_in_s=0.0)
            self._tell(EngineLost(lost.reason, 0.0))
        return None

    async def _without_next(self, live: EngineConversation, now: float) -> None:
        if now < self._timing.due_at:
            return
        pause_s = self._pause_s(live, None)
        step = self._timing.without_next(now, pause_s, has_spare=True)
        if step is NextStep.PREPARE and not self._prepare():
            if isinstance(self._lease, AskingLease) and self._lease.awaits_spare:
                return
            step = self._timing.without_next(now, pause_s, has_spare=False)
        if step is NextStep.RENEW:
            await self._renew(live, now)

    def _prepare(self) -> bool:
        """Open the next conversation; whether there is a slot for it."""
        self._spare = self._lease.spare(self.drop_next)
        if self._spare is None:
            return False
        log.info("next engine conversation prepared", engine=self._lease.name, spare=self._spare.name)
        self._changeover = self._metrics.span.child(HANDOVER)
        self._next = self._begin(self._spare.open(self._persona, self._metrics, self._recap.recap()), standby=True)
        return True

    def _with_next(self, live: EngineConversation, following: EngineConversation, ready_at: float, now: float) -> None:
        if live.downlink.keeps_tail:  # its last block has come, or it sends none
            following.downlink.fade_in_from(live.downlink.tail or b"")
            self._take_over(live, following)
            return
        pause_s = self._pause_s(live, following)
        step = self._timing.with_next(now, pause_s, ready_at=ready_at, takes_turns=not live.engine.caps.realtime_paced)
        if step is not NextStep.WAIT:
            self._crossfaded.add(step is NextStep.CROSSFADE)
            live.downlink.keep_tail(lambda: following.downlink.next_block_in_s, self.wake)

    def _pause_s(self, live: EngineConversation, following: EngineConversation | None) -> float:
        """For how long everybody has been silent: people, the live engine as it is heard, the next one as it would be."""
        engines = [one.downlink.silent_s for one in (live, following) if one is not None]
        return min(self._pause_of_people(), *engines)

    def _take_over(self, live: EngineConversation, following: EngineConversation) -> None:
        """From now on people talk with the next conversation. The old one is left, and its slot is free as soon as that is done."""
        if self._spare is not None:
            self._spare.adopt()
        self._spare = self._next = None
        self._uplink.next_engine = None
        live.downlink.stand_by()
        self._count(live, None)
        self._leave(live)
        self._captions.end_stretch()
        self._live = following
        following.downlink.standby = False
        self.to_forget.clear()
        self._go_live(following)
        self._taken_over.add()
        self._end_changeover("taken over")
        log.info("engine handed over", engine=self._lease.name, in_place=False)
        self._tell(HandedOver())
        if self._lost_told:
            self._tell(EngineBack())
            self._lost_told = False
        if following.downlink.keeps_persona:
            self._tell(PersonaIgnored())

    async def _renew(self, live: EngineConversation, now: float) -> None:
        """Leave the conversation and open the next one in its place."""
        self._tell(Renewing())
        self._changeover = self._metrics.span.child(HANDOVER)
        self._renewing_since, self._unheard_told = now, False
        self._uplink.engine = None
        self._count(live, None)
        live.downlink.stand_by()
        await cancel_and_wait(live.task)
        self._captions.end_stretch()
        self._live = self._begin(self._lease.open(self._persona, self._metrics, self._recap.recap()), standby=False)

    def _watch_renewal(self) -> None:
        """Somebody who speaks while no engine listens is told, once."""
        if self._renewing_since is not None and not self._unheard_told and self._pause_of_people() < SPEAKS_S:
            self._unheard_told = True
            self._tell(UnheardInRenewal())

    def _tell_renewal(self, unheard_s: float) -> None:
        self._renewing_since = None
        self._renewed.add()
        self._unheard_ms.record(unheard_s * 1000)
        self._changeover.note({UNHEARD_S: round(unheard_s, 3)})
        self._end_changeover("renewed")
        log.info("engine handed over", engine=self._lease.name, in_place=True, unheard_s=round(unheard_s, 2))
        self._tell(HandedOver(in_place=True, unheard_s=unheard_s))

    def _next_failed(self, following: EngineConversation, now: float) -> None:
        """The next conversation is lost before it took over: it is tried again, later and later."""
        self._failed.add()
        self._timing.failed(now)
        cause, error = "late", None
        if following.is_over:
            error = following.task.exception()
            cause = "internal" if error else following.task.result().cause
        log.warning("next engine conversation failed", engine=self._spare.name if self._spare else "", cause=cause, exc_info=error)
        self._changeover.fail(cause)
        self.drop_next()

    def _end_changeover(self, result: str) -> None:
        self._changeover.note({HANDOVER_RESULT: result})
        self._changeover.end()
        self._changeover = NO_SPAN

    def _begin(self, engine: VoiceEngine, *, standby: bool) -> EngineConversation:
        downlink = self._new_downlink()
        downlink.mute, downlink.standby = self._muted, standby
        above = self._metrics.span if self._changeover is NO_SPAN else self._changeover
        span = above.child(OPEN_ENGINE, {ENGINE_KIND: engine.caps.kind})
        return EngineConversation(engine, downlink, clock=self._clock, host=self, span=span)

    def _go_live(self, conversation: EngineConversation) -> None:
        self._uplink.engine = conversation.engine
        began = conversation.ready_at if conversation.ready_at is not None else self._clock.now()
        self._timing = HandoverTiming(self._rule, conversation.engine.caps.memory_s, began, conversation.opening_s)
        self._summary_at = self._timing.summary_at

    def _leave(self, conversation: EngineConversation) -> None:
        """Leave it in the background."""
        self._leaving.add(conversation.task)
        conversation.task.add_done_callback(self._left)
        conversation.task.cancel()

    def _left(self, task: asyncio.Task[Closed]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.warning("engine did not close well", engine=self._lease.name, exc_info=error)

    def _count(self, conversation: EngineConversation, lost: Closed | None) -> None:
        """Audio of a flood does not count as healthy."""
        if lost is None or not lost.cause.startswith(OVER_BUDGET):
            self._retries.received(conversation.healthy_s)
