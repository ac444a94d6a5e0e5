"""VoiceSession: one call's lifetime. Everything in a call begins and ends here."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import structlog

from discordplex.bridge.captions import OpenCaptions
from discordplex.bridge.downlink import LONGEST_SENTENCE, Downlink, problem_budget
from discordplex.bridge.events import CallEvent, Caption, Ended, EngineLost, EngineReplaced, Opening, Trouble
from discordplex.bridge.handover import Handover
from discordplex.bridge.handover_timing import HandoverRule
from discordplex.bridge.lifetime import LONG_S, cause_of
from discordplex.bridge.ports import Ears, SpeakingSource, SpeechSink, VoiceLink
from discordplex.bridge.recap import RecapKeeper
from discordplex.bridge.retry import EngineRetries, RetryRule
from discordplex.bridge.uplink import Uplink
from discordplex.clock import Clock
from discordplex.engine import (
    BUSY,
    STALLED,
    Closed,
    EngineLease,
    MovableLease,
    Persona,
    Problem,
    ReplaceableLease,
    SpareSlot,
    SpeakerId,
    Text,
)
from discordplex.engine_slots import AskingLease
from discordplex.metrics import Metrics
from discordplex.plaintext import one_line
from discordplex.tasks import cancel_and_wait

log = structlog.get_logger()

REPLACE_AFTER_S = LONG_S
"""An engine that is lost and not back after this time is replaced, where one of another kind is free."""

LONG_TRY_S = 5.0
"""A try that took so long and failed is not repeated, where an engine of another kind is free: the next one would take as long."""

INTERNAL_ERROR = "The call ended because of an internal error; the log has the cause."


async def at_once() -> None:
    """Wait for nothing."""


class VoiceSession:
    """One call, from the first try to open the engine to its end. Thread: loop, also for the constructor.

    It uses the lease but does not release it, and does not leave the voice channel: the bot owns both. `on_event` is called on the loop
    with each `CallEvent`; it must not block, and if it raises, the call ends. No engine is opened before `may_open` has returned, which is
    awaited each time: after an engine was replaced, people have to know where their words go.
    """

    def __init__(
        self,
        *,
        lease: EngineLease,
        persona: Persona,
        sink: SpeechSink,
        source: SpeakingSource,
        link: VoiceLink,
        on_event: Callable[[CallEvent], None],
        clock: Clock,
        metrics: Metrics,
        ears: Ears | None = None,
        may_open: Callable[[], Awaitable[None]] = at_once,
        retry_rule: RetryRule | None = None,
        handover_rule: HandoverRule | None = None,
        recap: RecapKeeper | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._lease = lease
        self._persona = persona
        self._sink = sink
        self._source = source
        self._link = link
        self._tell = on_event
        self._clock = clock
        self._metrics = metrics
        self._may_open = may_open
        self._people = link.people
        self._ears = ears
        self._captions = OpenCaptions()
        self._recap = recap or RecapKeeper()
        self._recap.saw(self._people)
        self._problems = problem_budget()
        self._uplink = Uplink(sink=sink, clock=clock, metrics=metrics, chores=self._do_chores, ears=ears)
        self._retry = EngineRetries(chance=chance, rule=retry_rule)
        self._handover = Handover(
            lease=lease,
            uplink=self._uplink,
            captions=self._captions,
            new_downlink=self._new_downlink,
            pause_of_people=lambda: sink.pause_s,
            recap=self._recap,
            tell=on_event,
            retries=self._retry,
            clock=clock,
            metrics=metrics,
            rule=handover_rule,
        )
        self._scope = anyio.CancelScope()
        self._attempt: asyncio.Task[Closed | None] | None = None
        self._waits_after: Closed | None = None
        """How the engine was lost, while the call waits for its next try."""
        self._lost: Closed | None = None
        self._lost_at = 0.0
        self._was_open = False
        """Whether the engine of the present try was open."""
        self._to_replace: tuple[Closed, bool] | None = None
        """Why the engine is replaced as soon as its conversation is left, and whether it has failed."""

    async def run(self) -> None:
        """Run the call from start to end. Call it once.

        Returns after `Ended`: with a reason where the engine is lost for good or a part of the call failed (then the log has the cause),
        without one after `stop`. A cancellation from outside reports `Ended(None)` and is passed on. However the call ends, the last
        captions are told, the engine is closed, and no task is left.
        """
        ended = Ended(None)
        try:
            with self._scope:
                await anyio.lowlevel.checkpoint()  # stopped before it began: nothing is opened
                lost = await self._live()
                ended = Ended(lost.reason, busy=lost.cause == BUSY)
        except Exception as error:  # the outer edge of a call: a bug in one must not end the others
            log.exception("call failed", engine=self._lease.name, exc_info=cause_of(error))
            ended = Ended(INTERNAL_ERROR)
        finally:
            for caption in self._captions.close():
                self._tell_caption(caption)
            self._recap.clear(self._captions.newest_key)
            self._tell(ended)

    def stop(self) -> None:
        """End the call as asked: `run` returns soon. Does nothing a second time, or after the end."""
        self._scope.cancel()

    async def interrupt(self) -> None:
        """Interrupt what the engine is saying, because a person asked for it; does nothing where no engine is there."""
        engine, downlink = self._handover.engine, self._handover.downlink
        if engine is not None and downlink is not None:
            await downlink.interrupt(engine)

    async def pause(self) -> None:
        """Until `resume` the engine hears silence, whatever people say, and nothing that it says is played or shown.

        What people said before and nobody has read yet is dropped. The pause holds for every engine that the call gets until `resume`,
        including one that is being opened.
        """
        self._handover.mute(muted=True)
        self._captions.cut_people()
        if self._ears is not None:
            self._ears.drop()
        engines = self._handover.engines
        await self.interrupt()
        self._drop_unplayed()
        for engine in engines:
            await engine.pause()
        if self._ears is not None:
            await self._ears.stopped()

    def resume(self) -> None:
        """Hear and speak again after `pause`. What was said meanwhile is lost."""
        self._handover.mute(muted=False)

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that the call and its engine hold of this speaker's sound and words, because they opted out.

        When this returns, no frame of theirs that the sink held reaches an engine, and no caption with their words follows. An engine that
        is not open yet is told when it opens, before it hears anybody: its lease may remember what was said. An engine that fails to forget
        is left, and its error raised. The caller makes sure that the sink gets no more of their frames.
        """
        self._sink.forget(speaker)
        self._captions.forget(speaker)
        self._captions.end_stretch()
        was_told = self._recap.forget(speaker, self._captions.newest_key)
        self._handover.drop_next()  # it was told of the call with their words
        self._handover.to_forget.add(speaker)
        if self._ears is not None:
            await self._ears.forget(speaker)
        engine = self._handover.engine
        if engine is None:
            if was_told and self._handover.opens:
                self._give_up_attempt()  # likewise; it is opened again without them
            return
        try:
            await engine.forget(speaker)
        except Exception:
            # What it may still hold must reach nobody: the engine is left, and the next one is told.
            self._give_up_attempt()
            raise
        self._handover.to_forget.discard(speaker)

    def reset(self) -> bool:
        """Forget what was said in this call, and tell it to no later conversation; returns whether the engine has to start over for that.

        A full-duplex model cannot forget, so it does; one that takes turns has its history in its lease, which the caller resets.
        """
        self._captions.end_stretch()
        self._recap.clear(self._captions.newest_key)
        if self._ears is not None:
            self._ears.drop()
        self._handover.drop_next()
        engine = self._handover.engine
        starts_over = self._handover.listened and (engine is None or engine.caps.realtime_paced)
        if starts_over:
            self.restart(self._persona)
        return starts_over

    def restart(self, persona: Persona) -> None:
        """Continue as `persona`: the engine is left and opened anew at once, on the same lease; `EngineBack` says when it listens."""
        self._persona = persona
        self._drop_unplayed()
        self._give_up_attempt()

    @property
    def may_hand_over(self) -> bool:
        """Whether `hand_over_to` can be done now."""
        return self._handover.engine is not None and not self._handover.prepares

    def hand_over_to(self, slot: SpareSlot) -> bool:
        """Continue with the engine of this slot in the next pause of everybody; returns whether that can be done now.

        `HandedOver` says that it is done. The slot is given back if it fails.
        """
        return self._handover.hand_over_to(slot)

    def replace_engine(self, reason: str) -> bool:
        """Continue with an engine of another kind, although this one works; returns whether one is free. `EngineReplaced` says `reason`.

        Also returns true while one was asked for and the answer is about to come: call it again in a second.
        """
        if self._handover.engine is None:
            return False
        if not self._may_replace():
            return isinstance(self._lease, AskingLease) and self._lease.awaits_replacement
        self._to_replace = Closed(reason), False
        self._drop_unplayed()
        self._give_up_attempt()
        return True

    def take_replacement(self) -> bool:
        """If the call waits for its next try, take an engine of another kind that has become free; returns whether it has one now."""
        lost = self._waits_after
        if lost is None or not (self._retry.tried_again and self._may_replace() and self._replace(lost, failed=True)):
            return False
        self._waits_after = None
        self._give_up_attempt()
        return True

    def try_now(self) -> None:
        """Stop waiting for the next try, or for an opening in progress.

        Does nothing where an engine is there, or the next conversation is being opened already.
        """
        if self._handover.engine is None and not self._handover.prepares:
            self._give_up_attempt()

    def _give_up_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _drop_unplayed(self) -> None:
        """Drop what waits to be played, sound and words."""
        self._captions.cut(heard=self._source.played_samples)
        self._source.flush()

    def _new_downlink(self) -> Downlink:
        return Downlink(
            source=self._source,
            captions=self._captions,
            tell=self._tell,
            clock=self._clock,
            metrics=self._metrics,
            problems=self._problems,
        )

    def _tell_caption(self, caption: Caption) -> None:
        self._recap.hear(caption)
        self._tell(caption)

    async def _live(self) -> Closed:
        """Run all of the call's tasks; returns how the engine was lost for good. The failure of one task ends the others."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._uplink.run, name="bridge:uplink")
            if self._ears is not None:
                tasks.start_soon(self._ears.run, self._hear_words, name="bridge:ears")
            lost = await self._converse()
            tasks.cancel_scope.cancel()
        return lost

    async def _converse(self) -> Closed:
        """Keep an engine in the call as long as possible; returns why that ended."""
        self._tell(Opening())
        while True:
            # A task and not a scope: before Python 3.11 a scope that is cancelled swallows a cancellation of the whole call, too.
            self._attempt = asyncio.create_task(self._try_once(), name="bridge:attempt")
            try:
                await asyncio.wait({self._attempt})
            finally:
                await cancel_and_wait(self._attempt)
            if not self._attempt.cancelled() and (lost := self._attempt.result()):
                return lost
            self._captions.end_stretch()
            if self._to_replace is not None:
                lost, failed = self._to_replace
                self._to_replace = None
                self._replace(lost, failed=failed)

    async def _try_once(self) -> Closed | None:
        """Hold an engine, and after its loss wait until the next try; returns the reason where there is none."""
        await self._may_open()
        await self._find_another(of_any_kind=False)
        self._was_open, began = False, self._clock.now()
        lost = await self._handover.hold(self._persona)
        self._captions.end_stretch()
        took_long = not self._was_open and self._clock.now() - began >= LONG_TRY_S
        relocated = await self._find_another(of_any_kind=True)
        is_full = lost.cause == BUSY and not self._handover.listened
        may_retry = lost.retry and not is_full
        retry_in_s = self._retry.failed(self._clock.now(), replaceable=self._is_replaceable) if may_retry else None
        log.warning("engine lost", engine=self._lease.name, cause=lost.cause, retry_in_s=retry_in_s)
        if retry_in_s is None or took_long or lost.cause in (BUSY, STALLED):
            if self._go_on_elsewhere(lost, relocated=relocated):
                return None
            if retry_in_s is None:
                return lost
        if self._lost is None:
            self._lost, self._lost_at = lost, self._clock.now()
        self._tell(EngineLost(lost.reason, retry_in_s))
        self._waits_after = lost
        try:
            await self._clock.sleep_until(self._clock.now() + retry_in_s)
        finally:
            self._waits_after = None
        return None

    @property
    def _is_replaceable(self) -> bool:
        return isinstance(self._lease, ReplaceableLease) and self._lease.is_replaceable

    async def _find_another(self, *, of_any_kind: bool) -> bool:
        """Where processes share the engines, ask for one that works; returns whether the lease has another one of its kind."""
        return isinstance(self._lease, AskingLease) and await self._lease.find_another(of_any_kind=of_any_kind)

    def _may_replace(self) -> bool:
        """Whether an engine of another kind is free; if none is known of, one is asked for."""
        if not self._is_replaceable and isinstance(self._lease, AskingLease):
            self._lease.want_another(of_any_kind=True)
        return self._is_replaceable

    def _go_on_elsewhere(self, lost: Closed, *, relocated: bool) -> bool:
        """Continue on another server of the same kind that works, else on an engine of another kind; returns whether there is one."""
        if relocated and (lost.retry or lost.cause == BUSY):
            self._tell(EngineLost(lost.reason, 0.0))
            return True
        if not self._is_replaceable:
            return False
        if lost.retry and isinstance(self._lease, MovableLease) and self._lease.relocate():
            self._tell(EngineLost(lost.reason, 0.0))
            return True
        return self._replace(lost, failed=True)

    def _replace(self, lost: Closed, *, failed: bool) -> bool:
        before = self._lease.info
        if not (isinstance(self._lease, ReplaceableLease) and self._lease.replace(failed=failed)):
            return False
        self._retry.begin_anew()
        self._lost = None
        self._tell(EngineReplaced(before, lost.reason))
        return True

    def _hear_words(self, event: Text | Problem) -> None:
        """The ears have written down what somebody said, or cannot."""
        if isinstance(event, Text):
            self._captions.add(event, position=self._source.pushed_samples, now=self._clock.now())
        else:
            self._tell(Trouble(one_line(event.message, LONGEST_SENTENCE), event.service, event.cause))

    def _look_for_overdue(self) -> None:
        """Give up an engine that was lost and does not come back; ask for another one meanwhile."""
        if self._waits_after is not None and isinstance(self._lease, AskingLease):
            self._lease.want_another(of_any_kind=self._retry.tried_again)
        if self._handover.engine is not None:
            self._lost, self._was_open = None, True
        overdue = self._lost is not None and self._clock.now() - self._lost_at >= REPLACE_AFTER_S
        if self._lost is not None and overdue and self._to_replace is None and self._may_replace():
            self._to_replace = self._lost, True
            self._give_up_attempt()

    def _do_chores(self) -> None:
        """Advance the captions and the hand-over, and make the sink forget people who left. Called ten times a second by the uplink."""
        self._look_for_overdue()
        for caption in self._captions.advance(heard=self._source.played_samples, now=self._clock.now()):
            self._tell_caption(caption)
        self._handover.tick()
        people = self._link.people
        for gone in self._people - people:
            self._sink.forget(gone)
        self._recap.saw(people - self._people)
        self._people = people
