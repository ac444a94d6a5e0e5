"""Downlink: engine to people. The engine's events become sound, captions and messages about problems."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace

from discordplex.audio.fades import Crossfade, is_quiet
from discordplex.audio.format import ENGINE
from discordplex.bridge.budget import EventBudget
from discordplex.bridge.captions import OpenCaptions
from discordplex.bridge.events import CallEvent, Trouble
from discordplex.bridge.ports import SpeakingSource
from discordplex.clock import Clock
from discordplex.engine import (
    Audio,
    Closed,
    EngineEvent,
    Interrupted,
    PersonaIgnored,
    PlaybackHeld,
    PlaybackResumed,
    Problem,
    Text,
    VoiceEngine,
)
from discordplex.metrics import Metrics
from discordplex.plaintext import one_line
from discordplex.token_bucket import TokenBucket

REPLIES = 64
"""Replies whose position in the source is remembered; an engine that names none of its replies has one."""

BATCH = 16
"""Events passed on before other tasks get a turn on the loop."""

LONGEST_SENTENCE = 500
"""Characters of a sentence about an engine. It may quote a server."""

PROBLEMS_AT_ONCE, PROBLEM_EVERY_S = 3, 60.0
"""Sentences about an engine that people get at once, and one more for each interval. A server may word each error anew."""


SHORTEST_TAIL_MS = 10
"""Over this time one engine's sound fades into another's at least."""


def nothing() -> None:
    """Nobody waits for the tail."""


def problem_budget() -> TokenBucket:
    """How many sentences about its engines a call tells."""
    return TokenBucket(per_second=1 / PROBLEM_EVERY_S, burst=PROBLEMS_AT_ONCE)


@dataclass(slots=True)
class ReplySpan:
    """Where the audio of one item lies on the line of pushed samples."""

    item: str
    begin: int
    end: int


class Downlink:
    """Plays one call's engine. Thread: loop.

    Metrics: `downlink.samples` (audio that engines sent), `downlink.flushed_samples` (of it, cut by a barge-in), `downlink.late_samples`
    (of it, sent for a reply that had been cut already), `downlink.muted_samples` (of it, sent while `mute`), `downlink.texts`,
    `downlink.untold_problems` (sentences beyond those that people can be expected to read), `downlink.depth_ms` (what waits to be played
    when more comes), `downlink.gap_ms` (from one block of audio to the next, for engines that send in real time).
    """

    def __init__(
        self,
        *,
        source: SpeakingSource,
        captions: OpenCaptions,
        tell: Callable[[CallEvent], None],
        clock: Clock,
        metrics: Metrics,
        problems: TokenBucket | None = None,
    ) -> None:
        """`tell` is called on the loop with each `Trouble`; `problems` limits these where several engines of a call share it."""
        self.mute = False
        """Set it to drop whatever the engine says from then on, sound and text."""
        self.standby = False
        """Whether another engine is the one that people talk with: nothing of this one is played, shown or told."""
        self.keeps_persona = False
        """Whether it has its own voice and role, as it said while `standby`."""
        self.has_sounded = False
        """Whether it has sent any sound."""
        self.tail: bytes | None = None
        """The end of the last block, not played, once `keep_tail` has been called and a block has come."""
        self._lead_s: Callable[[], float] | None = None
        self._on_tail: Callable[[], None] = nothing
        self._next_at = 0.0
        self._crossfade: Crossfade | None = None
        self._loud_until, self._loud_until_s = 0, float("-inf")
        self._source = source
        self._captions = captions
        self._tell = tell
        self._clock = clock
        self._replies: deque[ReplySpan] = deque(maxlen=REPLIES)
        self._cut_item = ""
        self._received = 0
        self._count = 0
        self._block_at: float | None = None
        self._problems = problems or problem_budget()
        self._samples = metrics.counter("downlink.samples")
        self._flushed = metrics.counter("downlink.flushed_samples")
        self._late = metrics.counter("downlink.late_samples")
        self._muted = metrics.counter("downlink.muted_samples")
        self._texts = metrics.counter("downlink.texts")
        self._untold_problems = metrics.counter("downlink.untold_problems")
        self._depth_ms = metrics.histogram("downlink.depth_ms")
        self._gap_ms = metrics.histogram("downlink.gap_ms")

    @property
    def received_s(self) -> float:
        """How much audio the engine of the last `run` sent."""
        return self._received / ENGINE.rate_hz

    @property
    def silent_s(self) -> float:
        """For how long the engine has been silent, as people hear it; while `standby`, as they would."""
        if self._source.played_samples < self._loud_until:
            return 0.0
        return max(0.0, self._clock.now() - self._loud_until_s)

    def stand_by(self) -> None:
        """Drop whatever the engine says and does from now on."""
        self.standby = True
        self._source.go_on()

    @property
    def keeps_tail(self) -> bool:
        """Whether `keep_tail` holds."""
        return self._lead_s is not None

    @property
    def next_block_in_s(self) -> float:
        """How soon the next block of an engine in real time is due."""
        return max(0.0, self._next_at - self._clock.now())

    def keep_tail(self, lead_s: Callable[[], float], on_tail: Callable[[], None]) -> None:
        """Of the next block, play only the first `lead_s`, and keep the rest in `tail`: another engine continues there.

        `on_tail` is called then; whatever comes later is dropped.
        """
        self._lead_s, self._on_tail = lead_s, on_tail

    def play_on(self) -> None:
        """Take back `keep_tail`: what was kept is played after all."""
        self._lead_s = None
        tail, self.tail = self.tail, None
        if tail:
            self._source.push(tail)

    def fade_in_from(self, tail: bytes) -> None:
        """Begin with a crossfade from this block, which another engine would be heard with now."""
        self._crossfade = Crossfade(tail) if tail else None

    async def run(self, engine: VoiceEngine) -> Closed:
        """Play what `engine` does until it closes; returns why it did."""
        self._begin()
        budget = EventBudget(paced=engine.caps.realtime_paced)
        events = engine.events()
        try:
            async for event in events:
                if isinstance(event, Closed):
                    return replace(event, reason=one_line(event.reason, LONGEST_SENTENCE))
                sound_s = len(event.pcm) / (ENGINE.rate_hz * ENGINE.sample_bytes) if isinstance(event, Audio) else 0.0
                if excess := budget.spend(event, sound_s, self._clock.now()):
                    return excess
                await self._pass_on(event, engine)
                if self._counts_a_batch():
                    await asyncio.sleep(0)
        finally:
            if not self.standby:
                self._source.go_on()
            if isinstance(events, AsyncGenerator):  # a generator left early would be closed by the garbage collector, in another task
                await events.aclose()
        return Closed("The engine ended the conversation without saying why.")

    async def interrupt(self, engine: VoiceEngine, item: str = "") -> None:
        """Be silent at once, and tell `engine` how much of its reply was heard.

        Everything pushed after `item` is dropped with it. Does nothing where all of it was played, so that an engine may answer this with
        an `Interrupted` of its own. Without an `item` the engine is always told: it may be thinking.
        """
        heard = self._source.played_samples
        reply = self._reply_at(heard, item)
        self._captions.cut(heard=heard, item=item)
        if item:
            self._cut_item = item
        if reply is not None:  # while it is held still: the send thread would play another frame of it, which nobody counts as heard
            self._flushed.add(self._source.flush())
        self._source.go_on()
        if reply is None:
            if not item:
                await engine.interrupt()
            return
        self._replies.clear()
        self._cut_item = reply.item
        played_ms = max(0, heard - reply.begin) * 1000 / ENGINE.rate_hz
        await engine.interrupt(reply.item, played_ms if reply.item else None)

    async def _pass_on(self, event: EngineEvent, engine: VoiceEngine) -> None:
        if self.standby:
            self._overhear(event)
            return
        match event:
            case Audio():
                self._hear(event, paced=engine.caps.realtime_paced)
            case Text():
                self._read(event)
            case PlaybackHeld():
                self._source.hold()
            case PlaybackResumed():
                self._source.go_on()
            case Interrupted(item):
                await self.interrupt(engine, item)
            case PersonaIgnored():
                self._tell(event)
            case Problem() if not self._problems.take(1, self._clock.now()):
                self._untold_problems.add()
            case Problem(message, service, cause):
                self._tell(Trouble(one_line(message, LONGEST_SENTENCE), service, cause))

    def _overhear(self, event: EngineEvent) -> None:
        """Drop an event of an engine that is not the one people talk with."""
        if isinstance(event, PersonaIgnored):
            self.keeps_persona = True
        elif isinstance(event, Audio):
            self._received += len(event.pcm) // ENGINE.sample_bytes
            self.has_sounded = True
            self._next_at = self._clock.now() + ENGINE.duration_ms(len(event.pcm)) / 1000
            if not is_quiet(event.pcm):
                self._loud_until_s = self._clock.now()

    def _counts_a_batch(self) -> bool:
        """Whether other tasks get a turn now: events that have already arrived come without a wait in between."""
        self._count = (self._count + 1) % BATCH
        return self._count == 0

    def _begin(self) -> None:
        self._received = 0
        self._replies.clear()
        self._cut_item = ""
        self._block_at = None

    def _hear(self, audio: Audio, *, paced: bool) -> None:
        """Queue a block for playing and remember its reply."""
        samples = len(audio.pcm) // ENGINE.sample_bytes
        self._received += samples
        self._samples.add(samples)
        if audio.item and audio.item == self._cut_item:
            self._late.add(samples)
            return
        if self.mute:
            self._muted.add(samples)
            return
        if self.tail is not None:
            return
        pcm = audio.pcm if self._lead_s is None else self._without_tail(audio.pcm, self._lead_s())
        samples = len(pcm) // ENGINE.sample_bytes
        self._measure(paced=paced)
        begin = self._source.pushed_samples
        if self._crossfade is not None:
            pcm = self._crossfade.into(pcm)
            self._crossfade = None if self._crossfade.is_over else self._crossfade
        self._source.push(pcm)
        self.has_sounded = True
        if not is_quiet(pcm):
            self._loud_until, self._loud_until_s = begin + samples, self._clock.now() + self._source.depth_ms / 1000
        if self._replies and self._replies[-1].item == audio.item:
            self._replies[-1].end = begin + samples
        else:
            self._replies.append(ReplySpan(audio.item, begin, begin + samples))

    def _without_tail(self, pcm: bytes, lead_s: float) -> bytes:
        """The first `lead_s` of the block; the rest is the tail, which is long enough to fade out."""
        longest = len(pcm) - ENGINE.bytes_of_ms(SHORTEST_TAIL_MS)
        lead = max(0, min(ENGINE.bytes_of_ms(lead_s * 1000), longest))
        self.tail = pcm[lead:]
        self._on_tail()
        return pcm[:lead]

    def _measure(self, *, paced: bool) -> None:
        now = self._clock.now()
        self._depth_ms.record(self._source.depth_ms)
        if paced and self._block_at is not None:
            self._gap_ms.record((now - self._block_at) * 1000)
        self._block_at = now

    def _read(self, text: Text) -> None:
        if self.mute:
            return
        if text.role == "engine" and text.item and text.item == self._cut_item:
            return
        self._texts.add()
        self._captions.add(text, position=self._source.pushed_samples, now=self._clock.now())

    def _reply_at(self, heard: int, item: str) -> ReplySpan | None:
        """The reply being heard at that position, of that item where one is named; None where all of it was heard."""
        unheard = (reply for reply in self._replies if reply.end > heard and item in ("", reply.item))
        return next(unheard, None)
