"""What people say beside an engine becomes words with their names, and nothing that fails here is anybody else's trouble."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, Future
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest

from discordplex.audio.format import ENGINE
from discordplex.engine import Problem, SpeakerId, Text
from discordplex.errors import ConfigError
from discordplex.hearing.detector import Detector, DetectorsOnDemand
from discordplex.hearing.ears import (
    BATCH_TICKS,
    FIRST_PAUSE_S,
    GOES_ON,
    INTERNAL,
    LONGEST_UTTERANCE_MS,
    MOST_TICKS,
    MOST_WAITING,
    SLEEPS_AFTER_TICKS,
    SLOW,
    STALE_S,
    CallEars,
    DetectionThread,
)
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from discordplex.services.faults import ServiceError

ANNA, BEN, CARA = 1, 2, 3
LOUD, QUIET = bytes([0, 64]) * (ENGINE.frame_bytes // 2), ENGINE.silence
TICK_S = ENGINE.frame_seconds
END_OF_SPEECH_MS = 200


class AtOnce(Executor):
    """Does the work where it is asked for: time in these tests is the clock's alone. `busy` keeps it waiting instead."""

    def __init__(self) -> None:
        self.busy = False
        self.batches = 0
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        self.batches += 1
        self._waiting.append((Future(), lambda: work(*arguments, **named)))
        promise = self._waiting[-1][0]
        if not self.busy:
            self.go_on()
        return promise

    def go_on(self) -> None:
        """Do all that waits."""
        self.busy = False
        while self._waiting:
            promise, work = self._waiting.pop(0)
            promise.set_result(work())


class LevelDetector:
    """Takes whatever is loud for speech."""

    def probability(self, window: bytes) -> float:
        return float(any(window))

    def reset(self) -> None:
        """It has no state."""


class ScriptedTranscriber:
    """Numbers what it hears. It answers after `takes_s`, raises what `faults` has, and keeps who asked together."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.takes_s = 0.0
        self.faults: list[Exception] = []
        self.heard: list[bytes] = []
        self.asks = self.most_asks = self.cancelled = 0
        self.closed = False

    async def text_of(self, pcm: bytes) -> str:
        self.heard.append(pcm)
        number = len(self.heard)
        self.asks += 1
        self.most_asks = max(self.most_asks, self.asks)
        try:
            await self.clock.sleep_until(self.clock.now() + self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.asks -= 1
        if self.faults:
            raise self.faults.pop(0)
        return f"words {number}"

    async def close(self) -> None:
        self.closed = True


class Room:
    """People in front of the ears of one call."""

    def __init__(self, clock: FakeClock, make_detector: Callable[[], Detector]) -> None:
        self.clock, self.metrics, self.executor = clock, Metrics(), AtOnce()
        self.transcriber = ScriptedTranscriber(clock)
        self.refusal: Exception | None = None
        self.made = 0
        self.allowed = True
        self.told: list[Text | Problem] = []
        self.ears = CallEars(
            new_transcriber=self.new_transcriber,
            allowed=lambda: self.allowed,
            end_of_speech_ms=END_OF_SPEECH_MS,
            thread=DetectionThread(DetectorsOnDemand(make_detector), self.executor),
            clock=clock,
            metrics=self.metrics,
        )

    def new_transcriber(self) -> ScriptedTranscriber:
        if self.refusal is not None:
            raise self.refusal
        self.made += 1
        return self.transcriber

    async def tick(self, *speakers: SpeakerId) -> None:
        self.ears.push(dict.fromkeys(speakers, LOUD))
        await self.clock.advance(TICK_S)

    async def say(self, *speakers: SpeakerId, ms: float = 600, rest_ms: float = 1000) -> None:
        """All of them say something at the same time, then nobody does."""
        for _ in range(round(ms / ENGINE.frame_ms)):
            await self.tick(*speakers)
        for _ in range(round(rest_ms / ENGINE.frame_ms)):
            await self.tick()
        await self.ready()

    async def ready(self) -> None:
        """The first utterance's client is made in a thread."""
        for _ in range(50):
            if self.ears._transcriber is not None or not self.ears._waiting.keys() | self.ears._busy:
                break
            await asyncio.sleep(0.001)
        await settle()

    @property
    def words(self) -> list[tuple[SpeakerId | None, str]]:
        return [(one.speaker, one.text) for one in self.told if isinstance(one, Text)]

    @property
    def problems(self) -> list[str]:
        return [one.message for one in self.told if isinstance(one, Problem)]

    def count(self, name: str) -> int:
        return self.metrics.counter(f"hearing.{name}").value


@asynccontextmanager
async def room(clock: FakeClock, make_detector: Callable[[], Detector] = LevelDetector) -> AsyncIterator[Room]:
    it = Room(clock, make_detector)
    running = asyncio.create_task(it.ears.run(it.told.append))
    try:
        yield it
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_three_people_at_once_are_written_down_each_under_their_name(clock: FakeClock) -> None:
    """Their sound is never mixed, and each utterance carries when it began."""
    async with room(clock) as it:
        began_at, it.transcriber.takes_s = clock.now(), 1.0
        await it.say(ANNA, BEN, CARA)
        await clock.advance(1.0)
        assert sorted(speaker for speaker, _ in it.words if speaker) == [ANNA, BEN, CARA]
        texts = [one for one in it.told if isinstance(one, Text)]
        assert all(one.role == "person" and one.final and one.began_at == pytest.approx(began_at, abs=0.05) for one in texts)
        assert len({one.item for one in texts}) == 3
        assert not it.problems
        assert it.transcriber.most_asks == 3
    assert it.transcriber.closed


async def test_one_request_per_speaker_at_a_time(clock: FakeClock) -> None:
    """The next utterance of the same person waits for the answer to the one before."""
    async with room(clock) as it:
        it.transcriber.takes_s = 3.0
        await it.say(ANNA)
        await it.say(ANNA)
        assert len(it.transcriber.heard) == it.transcriber.asks == 1
        await clock.advance(3.0)
        assert len(it.transcriber.heard) == 2
        await clock.advance(3.0)
        assert it.words == [(ANNA, "words 1"), (ANNA, "words 2")]
        assert it.transcriber.most_asks == 1


async def test_a_slow_transcriber_drops_the_oldest_and_is_told_once(clock: FakeClock) -> None:
    """Fresh speech comes before complete speech, what is lost is counted, and one sentence says so."""
    async with room(clock) as it:
        it.transcriber.takes_s = 60.0
        for _ in range(6):
            await it.say(ANNA)
        assert len(it.transcriber.heard) == 1
        assert it.count("utterances") == 6
        assert it.count("dropped") == 6 - 1 - MOST_WAITING
        assert it.problems == [SLOW]


async def test_words_that_would_come_too_late_are_not_asked_for(clock: FakeClock) -> None:
    """An utterance that waited half a minute costs no request any more."""
    async with room(clock) as it:
        it.transcriber.takes_s = STALE_S + 5
        await it.say(ANNA)
        await it.say(ANNA)
        await clock.advance(STALE_S + 6)
        assert len(it.transcriber.heard) == 1
        assert it.count("dropped") == 1
        assert it.words == [(ANNA, "words 1")]


async def test_a_dead_transcriber_is_one_sentence_and_is_tried_less_and_less(clock: FakeClock) -> None:
    """No request is made in the pause after a failure; afterwards it is tried again, and words come as if nothing had been."""
    async with room(clock) as it:
        it.transcriber.faults = [ServiceError(f"It failed {number}.", service="transcribe", cause="unreachable") for number in range(3)]
        await it.say(ANNA)
        assert it.problems == [f"It failed 0. {GOES_ON}"]
        await it.say(ANNA, ms=300)
        assert (len(it.transcriber.heard), it.count("dropped")) == (1, 1)
        await clock.advance(FIRST_PAUSE_S)
        await it.say(ANNA)
        await clock.advance(FIRST_PAUSE_S)
        await it.say(ANNA)
        assert len(it.transcriber.heard) == 2, "the second pause is twice as long"
        await clock.advance(2 * FIRST_PAUSE_S)
        await it.say(ANNA)
        await clock.advance(60)
        await it.say(ANNA)
        assert it.words == [(ANNA, "words 4")]
        assert len(it.problems) == 1
        assert it.count("faults") == 3


async def test_requests_that_fail_together_are_one_failure(clock: FakeClock) -> None:
    """Three people spoke at once when the service died: it is tried again after the first pause."""
    async with room(clock) as it:
        it.transcriber.takes_s = 0.5
        it.transcriber.faults = [ServiceError("It failed.", service="transcribe", cause="unreachable") for _ in range(3)]
        await it.say(ANNA, BEN, CARA)
        await clock.advance(1.0)
        assert it.count("faults") == 3
        await clock.advance(FIRST_PAUSE_S)
        await it.say(ANNA)
        await clock.advance(1.0)
        assert it.words == [(ANNA, "words 4")]


async def test_a_cough_is_nobody_s_fault(clock: FakeClock) -> None:
    """The transcriber finds no words: that is counted, and neither told nor a reason for a pause."""
    async with room(clock) as it:
        it.transcriber.faults = [ServiceError("No words.", service="transcribe", cause="no words")]
        await it.say(ANNA)
        await it.say(ANNA)
        assert it.words == [(ANNA, "words 2")]
        assert not it.problems
        assert it.count("wordless") == 1


@pytest.mark.parametrize("when", ["while they speak", "while it waits", "in the middle of a request", "while the thread works on it"])
async def test_who_opts_out_is_not_written_down(clock: FakeClock, when: str) -> None:
    """Nothing of theirs is asked for or told afterwards; what somebody else says at the same time is."""
    async with room(clock) as it:
        it.transcriber.takes_s = 1.0
        if when == "while they speak":
            await it.say(ANNA, BEN, rest_ms=0)
        elif when == "while it waits":
            it.transcriber.takes_s = 4.0
            await it.say(ANNA, BEN)
            await it.say(ANNA, BEN)
        elif when == "in the middle of a request":
            await it.say(ANNA, BEN)
            assert it.transcriber.asks == 2
        else:
            await it.say(ANNA, BEN, rest_ms=0)
            it.executor.busy = True
            await it.say(rest_ms=500, ms=0)
        asked = len(it.transcriber.heard)
        await it.ears.forget(ANNA)
        assert ANNA not in it.ears._requests
        assert ANNA not in it.ears._waiting
        it.executor.go_on()
        for _ in range(50):
            await it.tick()
        await clock.advance(10)
        assert {speaker for speaker, _ in it.words} == {BEN}
        assert len(it.transcriber.heard) - asked == (0 if when == "in the middle of a request" else 1), "what Ben said"
        await it.say(ANNA)
        await clock.advance(5)
        assert it.words[-1][0] == ANNA, "who is heard again is written down again"


async def test_a_stop_drops_everything_and_ends_requests(clock: FakeClock) -> None:
    """`drop` and `stopped`: half an utterance, what waits, and requests; what is said afterwards counts."""
    async with room(clock) as it:
        it.transcriber.takes_s = 5.0
        await it.say(ANNA)
        await it.say(ANNA, BEN, rest_ms=0)
        it.ears.drop()
        await it.ears.stopped()
        assert (it.transcriber.asks, it.transcriber.cancelled) == (0, 1)
        for _ in range(50):
            await it.tick()
        await clock.advance(8)
        assert not it.words
        await it.say(BEN)
        await clock.advance(8)
        assert it.words == [(BEN, "words 2")]


async def test_nothing_is_heard_until_it_is_allowed_nor_afterwards(clock: FakeClock) -> None:
    """Before people know, no sound is kept; when it ends in mid-sentence or in mid-request, no words of it come."""
    async with room(clock) as it:
        it.allowed = False
        await it.say(ANNA)
        assert it.executor.batches == 0
        assert it.made == 0
        it.allowed = True
        await it.tick()
        for _ in range(50):
            if it.made:
                break
            await asyncio.sleep(0.001)
        assert it.made == 1, "the client is there before the first word"
        it.transcriber.takes_s = 5.0
        await it.say(ANNA)
        await it.say(BEN, rest_ms=0)
        assert len(it.transcriber.heard) == 1
        it.allowed = False
        await it.tick(BEN)
        it.allowed = True
        for _ in range(50):
            await it.tick()
        await clock.advance(8)
        assert not it.words
        assert it.transcriber.cancelled == 1


async def test_while_nobody_speaks_nothing_is_done(clock: FakeClock) -> None:
    """The thread sleeps until the next frame, and wakes once for a batch of ticks."""
    async with room(clock) as it:
        for _ in range(100):
            await it.tick()
        assert it.executor.batches == 0
    assert it.executor.batches == 0, "a call in which nobody spoke starts no thread"
    async with room(clock) as it:
        await it.say(ANNA)
        woken = it.executor.batches
        for _ in range(SLEEPS_AFTER_TICKS):
            it.ears.push({})
            await settle(3)
        assert it.executor.batches - woken <= SLEEPS_AFTER_TICKS // BATCH_TICKS
        woken = it.executor.batches
        for _ in range(1000):
            it.ears.push({})
        await settle()
        assert it.executor.batches == woken
        await it.say(BEN)
        assert [speaker for speaker, _ in it.words] == [ANNA, BEN]


async def test_a_late_thread_loses_the_oldest_ticks(clock: FakeClock) -> None:
    """What waits for the thread is bounded, and what is lost is counted."""
    async with room(clock) as it:
        it.executor.busy = True
        for _ in range(MOST_TICKS + BATCH_TICKS + 70):
            await it.tick(ANNA)
        assert it.count("dropped_ticks") == 70
        assert len(it.ears._ticks) == MOST_TICKS


async def test_who_never_pauses_is_written_down_while_they_speak(clock: FakeClock) -> None:
    """A monologue comes in pieces."""
    async with room(clock) as it:
        await it.say(ANNA, ms=2 * LONGEST_UTTERANCE_MS + 1000, rest_ms=0)
        assert it.words == [(ANNA, "words 1"), (ANNA, "words 2")]


@pytest.mark.parametrize("where", ["the detector", "the transcriber"])
async def test_a_bug_ends_the_hearing_and_nothing_else(clock: FakeClock, where: Literal["the detector", "the transcriber"]) -> None:
    """`run` returns, one sentence is told, and further ticks do nothing."""

    def broken() -> Detector:
        raise RuntimeError

    async with room(clock, broken if where == "the detector" else LevelDetector) as it:
        it.transcriber.faults = [RuntimeError()]
        await it.say(ANNA)
        await it.say(ANNA)
        assert it.problems == [INTERNAL]
        assert not it.words


async def test_clients_that_cannot_be_made_are_one_sentence(clock: FakeClock) -> None:
    """A variable for a proxy that is wrong: it is told like a failure of the service."""
    async with room(clock) as it:
        it.refusal = ConfigError("HTTPS_PROXY is wrong.")
        await it.say(ANNA)
        for _ in range(50):
            if it.problems:
                break
            await asyncio.sleep(0.001)
        assert it.problems == [f"HTTPS_PROXY is wrong. {GOES_ON}"]
