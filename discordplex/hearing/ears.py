"""CallEars: writes down what the people in one call say, beside an engine that does not.

    loop, every tick    push: a tick's frames are kept, nothing else
    worker thread       25 ticks at once: detector and segmenter; one thread for all calls of a process
    loop                one request per speaker at a time; the words are told as events

Nothing here waits for the engine, and the engine waits for nothing here. What is too much is dropped and counted.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Final, Protocol, TypeAlias

import anyio
import structlog
from anyio.abc import TaskGroup

from discordplex.audio.format import ENGINE
from discordplex.cancellable import CancellableWork
from discordplex.clock import Clock
from discordplex.engine import Problem, SpeakerId, Text
from discordplex.errors import ConfigError
from discordplex.hearing.detector import DetectorsOnDemand
from discordplex.hearing.segmenter import Endpointing, SegmenterEvent, Utterance
from discordplex.hearing.speech_input import FORGET_MS, Detectors, PendingUtterance, SpeechInput
from discordplex.metrics import Metrics
from discordplex.plaintext import one_line
from discordplex.retry import Backoff
from discordplex.services.faults import ServiceError

log = structlog.get_logger()

BATCH_TICKS: Final = 25
"""Ticks for which the worker thread is woken once, half a second: each time costs the processor as much as ten ticks of one speaker."""
MOST_TICKS: Final = 150
"""Ticks that wait for the worker thread, 3 s; beyond that the oldest are dropped. Other calls' speech comes before."""
LONGEST_UTTERANCE_MS: Final = 15_000
"""A longer one is split: who speaks without a pause is written down while they speak."""
MOST_WAITING: Final = 2
"""Utterances of one speaker that wait for their request; beyond that the oldest is dropped."""
MOST_WAITING_BYTES: Final = 2 << 20
"""The same for the sound of all speakers: a minute."""
STALE_S: Final = 30.0
"""Words that would come later than this after they were said are dropped before they are asked for."""
LONGEST_WORDS_CHARACTERS: Final = 4000
"""Limit of the words of one utterance; the rest of the transcript is cut off."""
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 60.0
"""After a failure no request is made for this long, doubling with each; what is said meanwhile is dropped."""
SLEEPS_AFTER_TICKS: Final = FORGET_MS // ENGINE.frame_ms + BATCH_TICKS
"""After so many ticks without a frame every speaker's input is gone, and ticks do nothing until the next frame."""

GOES_ON: Final = "The call goes on; until the transcription works again, what you say is not written down."
SLOW: Final = "The transcription is slower than people speak, so a part of what you say is not written down. The call goes on as usual."
INTERNAL: Final = "An internal error keeps what you say from being written down in this call; the log has the cause. The call goes on."

Tell: TypeAlias = Callable[[Text | Problem], None]
"""Takes people's words, and the one sentence about a transcription that fails. Called on the loop."""

Tick: TypeAlias = tuple[float, Mapping[SpeakerId, bytes]]
"""When a tick was, and its frames."""

Found: TypeAlias = list[tuple[float, SpeakerId, SegmenterEvent]]
"""What began and ended, each with the time of its tick."""


class TextOf(Protocol):
    """A `transcriber.Transcriber`."""

    async def text_of(self, pcm: bytes) -> str:
        """The words in VAD PCM. Raises ServiceError."""
        ...

    async def close(self) -> None:
        """Close its connections; never raises."""
        ...


class DetectionThread:
    """The thread in which all calls of a process look for speech, and its detectors. It starts with the first speech."""

    def __init__(self, detectors: Detectors | None = None, executor: Executor | None = None) -> None:
        self.detectors: Detectors = detectors or DetectorsOnDemand()
        self.executor = executor or ThreadPoolExecutor(max_workers=1, thread_name_prefix="hearing")


class CallEars:
    """The ears of one call: `run` them once. Thread: loop.

    `allowed` says in every tick whether people may be heard: they know that they are transcribed, and by whom, and the engine does not do
    it. Where it says no, everything that was heard and is not yet words is dropped.

    Metrics: `hearing.utterances`, `hearing.dropped` (of them, without a request: too many, too old, or the service had just failed),
    `hearing.dropped_ticks` (the worker thread was too late), `hearing.wordless` (no words were in it), `hearing.faults`,
    `hearing.transcribe_ms`.
    """

    def __init__(
        self,
        *,
        new_transcriber: Callable[[], TextOf],
        allowed: Callable[[], bool],
        end_of_speech_ms: float,
        thread: DetectionThread,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`new_transcriber` is called in a thread as soon as people may be heard; it may raise ConfigError."""
        self._new_transcriber = new_transcriber
        self._allowed = allowed
        self._thread = thread
        self._clock = clock
        endpointing = Endpointing(end_of_speech_ms=end_of_speech_ms, max_utterance_ms=LONGEST_UTTERANCE_MS)
        self._input = SpeechInput(thread.detectors, endpointing, metrics=metrics)
        self._ticks: deque[Tick] = deque()
        self._enough = asyncio.Event()
        self._hears = self._broken = self._used_thread = self._prepared = False
        self._quiet_ticks = SLEEPS_AFTER_TICKS
        self._gone: set[SpeakerId] = set()
        self._all_gone = False
        """Of whom, and whether of everybody, the worker thread has to drop what it holds; nothing it finds of them counts until then."""
        self._waiting: dict[SpeakerId, deque[PendingUtterance]] = {}
        self._busy: set[SpeakerId] = set()
        """Whose utterances have a task that asks for their words."""
        self._requests: dict[SpeakerId, CancellableWork] = {}
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._pause_until = float("-inf")
        self._told = False
        self._numbers = itertools.count(1)
        self._transcriber: TextOf | None = None
        self._making = asyncio.Lock()
        self._utterances = metrics.counter("hearing.utterances")
        self._dropped = metrics.counter("hearing.dropped")
        self._dropped_ticks = metrics.counter("hearing.dropped_ticks")
        self._wordless = metrics.counter("hearing.wordless")
        self._faults = metrics.counter("hearing.faults")
        self._transcribe_ms = metrics.histogram("hearing.transcribe_ms")

    # What the call does

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Take what people said in one tick. Never blocks."""
        heard_before, self._hears = self._hears, not self._broken and self._allowed()
        if not self._hears:
            if heard_before:
                self.drop()
            return
        if not heard_before:
            self._enough.set()
        self._quiet_ticks = 0 if frames else self._quiet_ticks + 1
        if self._quiet_ticks > SLEEPS_AFTER_TICKS:
            self._quiet_ticks = SLEEPS_AFTER_TICKS
            return
        self._ticks.append((self._clock.now(), frames))
        if len(self._ticks) > MOST_TICKS:
            self._ticks.popleft()
            self._dropped_ticks.add()
        if len(self._ticks) >= BATCH_TICKS:
            self._enough.set()

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that is held of this person. When this returns no request carries it, and no words of it follow."""
        self._ticks = deque((at, {one: frame for one, frame in frames.items() if one != speaker}) for at, frames in self._ticks)
        self._gone.add(speaker)
        self._enough.set()
        self._waiting.pop(speaker, None)
        if (request := self._requests.get(speaker)) is not None:
            request.cancel()
            await request.ended()

    def drop(self) -> None:
        """Drop all that was said and is not words yet, and cancel the requests that carry it."""
        self._ticks.clear()
        self._quiet_ticks = SLEEPS_AFTER_TICKS
        self._all_gone = True
        self._enough.set()
        self._waiting.clear()
        for request in self._requests.values():
            request.cancel()

    async def stopped(self) -> None:
        """Return once every request that `drop` cancelled has ended."""
        for request in [one for one in self._requests.values() if one.cancelled]:
            await request.ended()

    async def run(self, tell: Tell) -> None:
        """Hear until cancelled. A failure in here ends the hearing, with a sentence, and not the call."""
        try:
            async with anyio.create_task_group() as tasks:
                await self._listen(tasks, tell)
        except Exception as error:
            log.exception("hearing failed", exc_info=error)
            self._broken = True
            self._tell_once(Problem(INTERNAL, service="transcribe", cause="internal"), tell)
        finally:
            self._ticks.clear()
            self._waiting.clear()
            if self._used_thread:
                self._thread.executor.submit(self._input.forget_everybody)
            if self._transcriber is not None:
                with anyio.CancelScope(shield=True):
                    await self._transcriber.close()

    # What it does

    async def _listen(self, tasks: TaskGroup, tell: Tell) -> None:
        """Give the ticks to the worker thread, batch by batch, and each speaker with an utterance a task that asks for its words."""
        loop = asyncio.get_running_loop()
        while True:
            await self._enough.wait()
            self._enough.clear()
            if self._hears and not self._prepared:
                self._prepared = True
                tasks.start_soon(self._prepare, name="hearing:prepare")
            if len(self._ticks) < BATCH_TICKS and not (self._gone or self._all_gone):
                continue
            ticks, self._ticks = self._ticks, deque()
            gone, self._gone = self._gone, set()
            all_gone, self._all_gone = self._all_gone, False
            self._used_thread = True
            found = await loop.run_in_executor(self._thread.executor, self._detect, ticks, gone, all_gone)
            for at, speaker, event in found:
                if isinstance(event, Utterance) and not self._all_gone and speaker not in self._gone:
                    self._keep(PendingUtterance(speaker, event.pcm, began_at=at - event.lasted_ms / 1000, at=at), tell)
            for speaker in self._waiting.keys() - self._busy:
                self._busy.add(speaker)
                tasks.start_soon(self._transcribe_all, speaker, tell, name="hearing:transcribe")

    def _detect(self, ticks: Sequence[Tick], gone: set[SpeakerId], all_gone: bool) -> Found:  # noqa: FBT001 -- one caller, by position
        """Look for utterances. Thread: worker."""
        if all_gone:
            self._input.forget_everybody()
        for speaker in gone:
            self._input.forget(speaker)
        found: Found = []
        for at, frames in ticks:
            found += [(at, speaker, event) for speaker, event in self._input.push(frames)]
        return found

    def _keep(self, utterance: PendingUtterance, tell: Tell) -> None:
        """Let an utterance wait for its request, if there is a chance that it is made in time."""
        self._utterances.add()
        if self._clock.now() < self._pause_until:
            self._dropped.add()
            return
        waiting = self._waiting.setdefault(utterance.speaker, deque())
        waiting.append(utterance)
        while len(waiting) > MOST_WAITING or self._waiting_bytes > MOST_WAITING_BYTES:
            longest = max(self._waiting.values(), key=len)
            longest.popleft()
            self._drop_late(tell)

    @property
    def _waiting_bytes(self) -> int:
        return sum(len(one.pcm) for waiting in self._waiting.values() for one in waiting)

    async def _transcribe_all(self, speaker: SpeakerId, tell: Tell) -> None:
        """Ask for the words of one speaker, utterance by utterance, until none waits."""
        while (utterance := self._next_of(speaker, tell)) is not None:
            with CancellableWork(frozenset({speaker})) as request:
                self._requests[speaker] = request
                await self._transcribe(utterance, request, tell)
            del self._requests[speaker]
        self._busy.discard(speaker)

    def _next_of(self, speaker: SpeakerId, tell: Tell) -> PendingUtterance | None:
        waiting = self._waiting.get(speaker)
        while waiting:
            utterance = waiting.popleft()
            if self._clock.now() < self._pause_until:
                self._dropped.add()
            elif self._clock.now() - utterance.at > STALE_S:
                self._drop_late(tell)
            else:
                return utterance
        self._waiting.pop(speaker, None)
        return None

    async def _transcribe(self, utterance: PendingUtterance, request: CancellableWork, tell: Tell) -> None:
        asked_at = self._clock.now()
        try:
            words = await (await self._ready_transcriber()).text_of(utterance.pcm)
        except (ServiceError, ConfigError) as fault:
            if not request.cancelled:
                self._failed(fault, tell)
            return
        if request.cancelled:
            return
        self._backoff.reset()
        self._transcribe_ms.record((self._clock.now() - asked_at) * 1000)
        text = one_line(words[: 2 * LONGEST_WORDS_CHARACTERS], LONGEST_WORDS_CHARACTERS)
        item = f"heard-{next(self._numbers)}"
        tell(Text(text, role="person", speaker=utterance.speaker, final=True, item=item, began_at=utterance.began_at))

    async def _prepare(self) -> None:
        """Import the SDK before somebody speaks: that takes 0.7 s, in which other threads wait for the interpreter again and again."""
        with contextlib.suppress(ConfigError):  # it is tried again, and told, when somebody speaks
            await self._ready_transcriber()

    async def _ready_transcriber(self) -> TextOf:
        async with self._making:
            if self._transcriber is None:
                self._transcriber = await asyncio.to_thread(self._new_transcriber)
        return self._transcriber

    def _failed(self, fault: ServiceError | ConfigError, tell: Tell) -> None:
        cause = fault.cause if isinstance(fault, ServiceError) else "not installed"
        if cause == "no words":
            self._wordless.add()  # a laugh or a cough: nobody is to blame, and the engine hears it anyway
            self._backoff.reset()
            return
        self._faults.add()
        if self._clock.now() < self._pause_until:
            return  # asked before the failure that began the pause, for somebody who spoke at the same time
        pause_s = self._backoff.failed()
        self._pause_until = self._clock.now() + pause_s
        log.warning("transcription failed", cause=cause, retry_in_s=pause_s)
        self._tell_once(Problem(f"{fault} {GOES_ON}", service="transcribe", cause=cause), tell)

    def _drop_late(self, tell: Tell) -> None:
        self._dropped.add()
        self._tell_once(Problem(SLOW, service="transcribe", cause="too slow"), tell)

    def _tell_once(self, problem: Problem, tell: Tell) -> None:
        """One sentence in a call, whatever else fails in it."""
        if not self._told:
            self._told = True
            tell(problem)
