"""VoiceSession: one call's lifetime. Everything in a call begins and ends here."""

import asyncio
import random
from collections.abc import Callable

import anyio
import anyio.lowlevel
import structlog

from discordplex.bridge.captions import OpenCaptions
from discordplex.bridge.downlink import LONGEST_SENTENCE, Downlink
from discordplex.bridge.events import CallEvent, Ended, EngineBack, EngineLost, Listening, Opening, StillOpening, Trouble
from discordplex.bridge.lifetime import cause_of, opened
from discordplex.bridge.ports import Ears, HearingSink, SpeakingSource, VoiceLink
from discordplex.bridge.retry import EngineRetries, RetryRule
from discordplex.bridge.uplink import Uplink
from discordplex.clock import Clock
from discordplex.engine import BUSY, OVER_BUDGET, Closed, EngineLease, Persona, Problem, SpeakerId, Text, VoiceEngine
from discordplex.errors import EngineError
from discordplex.metrics import Metrics
from discordplex.plaintext import one_line
from discordplex.tasks import cancel_and_wait

log = structlog.get_logger()

SILENT_PER_HEALTHY = 6.0
"""An engine that waits to be spoken to shows in six times as long, without a sound, that it is well."""

INTERNAL_ERROR = "The call ended because of an internal error; the log has the cause."


class VoiceSession:
    """One call, from the first try to open the engine to its end. Thread: loop, also for the constructor.

    It uses the lease but does not release it, and does not leave the voice channel: the bot owns both. `on_event` is called on the loop
    with each `CallEvent`; it must not block, and if it raises, the call ends.
    """

    def __init__(
        self,
        *,
        lease: EngineLease,
        persona: Persona,
        sink: HearingSink,
        source: SpeakingSource,
        link: VoiceLink,
        on_event: Callable[[CallEvent], None],
        clock: Clock,
        metrics: Metrics,
        ears: Ears | None = None,
        retry_rule: RetryRule | None = None,
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
        self._people = link.people
        self._ears = ears
        self._captions = OpenCaptions()
        self._uplink = Uplink(sink=sink, clock=clock, metrics=metrics, chores=self._do_chores, ears=ears)
        self._downlink = Downlink(source=source, captions=self._captions, tell=on_event, clock=clock, metrics=metrics)
        self._retry = EngineRetries(chance=chance, rule=retry_rule)
        self._scope = anyio.CancelScope()
        self._attempt: asyncio.Task[Closed | None] | None = None
        self._engine: VoiceEngine | None = None
        self._listened = False
        self._to_forget: set[SpeakerId] = set()

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
                self._tell(caption)
            self._tell(ended)

    def stop(self) -> None:
        """End the call as asked: `run` returns soon. Does nothing a second time, or after the end."""
        self._scope.cancel()

    async def interrupt(self) -> None:
        """Interrupt what the engine is saying, because a person asked for it; does nothing where no engine is there."""
        if self._engine is not None:
            await self._downlink.interrupt(self._engine)

    async def pause(self) -> None:
        """Until `resume` the engine hears silence, whatever people say, and nothing that it says is played or shown.

        What people said before and nobody has read yet is dropped. The pause holds for every engine that the call gets until `resume`,
        including one that is being opened.
        """
        self._uplink.deaf = self._downlink.mute = True
        self._captions.cut_people()
        engine = self._engine
        if self._ears is not None:
            self._ears.drop()
        await self.interrupt()
        self._drop_unplayed()
        if engine is not None:
            await engine.pause()
        if self._ears is not None:
            await self._ears.stopped()

    def resume(self) -> None:
        """Hear and speak again after `pause`. What was said meanwhile is lost."""
        self._uplink.deaf = self._downlink.mute = False

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that the call and its engine hold of this speaker's sound and words, because they opted out.

        When this returns, no frame of theirs that the sink held reaches an engine, and no caption with their words follows. An engine that
        is not open yet is told when it opens, before it hears anybody: its lease may remember what was said. An engine that fails to forget
        is left, and its error raised. The caller makes sure that the sink gets no more of their frames.
        """
        self._sink.forget(speaker)
        self._captions.forget(speaker)
        if self._ears is not None:
            await self._ears.forget(speaker)
        engine = self._engine
        if engine is None:
            self._to_forget.add(speaker)
            return
        try:
            await engine.forget(speaker)
        except Exception:
            # What it may still hold must reach nobody: the engine is left, and the next one is told.
            self._to_forget.add(speaker)
            self._give_up_attempt()
            raise

    def restart(self, persona: Persona) -> None:
        """Continue as `persona`: the engine is left and opened anew at once, on the same lease; `EngineBack` says when it listens."""
        self._persona = persona
        self._drop_unplayed()
        self._give_up_attempt()

    def try_now(self) -> None:
        """Stop waiting for the next try, or for an opening in progress. Does nothing where an engine is there."""
        if self._engine is None:
            self._give_up_attempt()

    def _give_up_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.cancel()

    def _drop_unplayed(self) -> None:
        """Drop what waits to be played, sound and words."""
        self._captions.cut(heard=self._source.played_samples)
        self._source.flush()

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

    async def _try_once(self) -> Closed | None:
        """Hold an engine, and after its loss wait until the next try; returns the reason where there is none."""
        lost = await self._hold_engine()
        self._captions.end_stretch()
        is_full = lost.cause == BUSY and not self._listened
        retry_in_s = self._retry.failed(self._clock.now()) if lost.retry and not is_full else None
        log.warning("engine lost", engine=self._lease.name, cause=lost.cause, retry_in_s=retry_in_s)
        if retry_in_s is None:
            return lost
        self._tell(EngineLost(lost.reason, retry_in_s))
        await self._clock.sleep_until(self._clock.now() + retry_in_s)
        return None

    async def _hold_engine(self) -> Closed:
        """One conversation with the engine, from opening it to losing it."""
        try:
            async with opened(self._lease.open(self._persona, self._metrics), self._clock, self._tell_long) as engine:
                return await self._converse_with(engine)
        except EngineError as error:
            return Closed(one_line(str(error), LONGEST_SENTENCE), retry=error.retry, cause=error.cause)

    def _tell_long(self, waited_s: float) -> None:
        self._tell(StillOpening(waited_s))

    async def _converse_with(self, engine: VoiceEngine) -> Closed:
        self._tell(EngineBack() if self._listened else Listening())
        self._listened = True
        self._engine = engine
        began_at = self._clock.now()
        try:
            while self._to_forget:
                await engine.forget(self._to_forget.pop())
            with self._uplink.into(engine):
                closed = await self._downlink.run(engine)
        finally:
            self._engine = None
        if not closed.cause.startswith(OVER_BUDGET):  # audio of a flood does not count as healthy
            lasted_s = 0.0 if engine.caps.realtime_paced else (self._clock.now() - began_at) / SILENT_PER_HEALTHY
            self._retry.received(max(self._downlink.received_s, lasted_s))
        return closed

    def _hear_words(self, event: Text | Problem) -> None:
        """The ears have written down what somebody said, or cannot."""
        if isinstance(event, Text):
            self._captions.add(event, position=self._source.pushed_samples, now=self._clock.now())
        else:
            self._tell(Trouble(one_line(event.message, LONGEST_SENTENCE), event.service, event.cause))

    def _do_chores(self) -> None:
        """Advance the captions, and make the sink forget people who left. Called ten times a second by the uplink."""
        for caption in self._captions.advance(heard=self._source.played_samples, now=self._clock.now()):
            self._tell(caption)
        people = self._link.people
        for gone in self._people - people:
            self._sink.forget(gone)
        self._people = people
