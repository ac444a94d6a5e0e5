"""Everybody is heard apart, whole, and cheaply."""

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.hearing.detector import Detector, DetectorPool, new_detector
from discordplex.hearing.segmenter import VAD, Discarded, Endpointing, SegmenterEvent, SpeechStarted, Utterance
from discordplex.hearing.speech_input import FALL_ASLEEP_MS, FORGET_MS, LISTEN_ON_MS, MOST_SPEAKERS, SpeechInput
from discordplex.metrics import Metrics
from tests.hearing.speech import clip, frames_of, noisy, pause, sentences

ANNA, BEN = 1, 2


class Counting:
    """The real detector, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0
        self._detector = new_detector()

    def probability(self, window: bytes) -> float:
        self.calls += 1
        return self._detector.probability(window)

    def reset(self) -> None:
        self._detector.reset()


@pytest.fixture
async def pool() -> DetectorPool:
    pool = DetectorPool()
    await pool.fill()
    return pool


def hear(speech_input: SpeechInput, pcm: bytes, speaker: int = ANNA) -> list[SegmenterEvent]:
    """What one person's ear makes of `pcm`."""
    return [event for frame in frames_of(pcm) for _, event in speech_input.push({speaker: frame})]


def kinds(events: list[SegmenterEvent]) -> list[type]:
    return [type(event) for event in events]


def length_ms(event: SegmenterEvent) -> float:
    assert isinstance(event, Utterance)
    return VAD.duration_ms(len(event.pcm))


async def test_every_sentence_is_an_utterance(pool: DetectorPool) -> None:
    """Of the clip's three sentences three utterances come, each as long as its sentence and a little more."""
    events = hear(SpeechInput(pool), clip() + pause(700))
    assert kinds(events) == [SpeechStarted, Utterance] * 3
    for utterance, sentence in zip(events[1::2], sentences(), strict=True):
        spoken_ms = ENGINE.duration_ms(len(sentence))
        assert spoken_ms - 250 < length_ms(utterance) < spoken_ms + 600


async def test_what_is_handed_over_is_what_was_said(pool: DetectorPool) -> None:
    """The utterance is the same wave as the sentence, at 16 kHz."""
    sentence = sentences()[0]
    utterance = hear(SpeechInput(pool), pause(500) + sentence + pause(700))[1]
    assert isinstance(utterance, Utterance)
    said = np.frombuffer(sentence, "<i2").astype(float)[::3]
    heard = np.frombuffer(utterance.pcm, "<i2").astype(float)
    likeness = np.correlate(heard, said[:8000] / np.linalg.norm(said[:8000])).max()
    assert likeness > 0.95 * np.linalg.norm(said[:8000])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_noise_glues_no_two_sentences(pool: DetectorPool, seed: int) -> None:
    """With white noise 10 dB below the speech the clip still has three utterances, and none of the pauses is speech."""
    events = hear(SpeechInput(pool), noisy(clip() + pause(700), 10, seed=seed))
    assert kinds(events) == [SpeechStarted, Utterance] * 3


async def test_it_is_certain_soon(pool: DetectorPool) -> None:
    """A person who begins loudly is known to speak within 150 ms of audio."""
    sentence = sentences()[0]
    onset = np.flatnonzero(np.abs(np.frombuffer(sentence, "<i2").astype(int)) > 1500)[0] * 2
    speech_input = SpeechInput(pool)
    hear(speech_input, pause(300))
    ticks = next(number for number, frame in enumerate(frames_of(sentence[onset:]), 1) if speech_input.push({ANNA: frame}))
    assert ticks * ENGINE.frame_ms <= 150


async def test_two_at_once_are_heard_apart(pool: DetectorPool) -> None:
    """Two people who speak at the same time are two utterances, in the order in which they ended."""
    speech_input, found = SpeechInput(pool), []
    anna, ben = sentences()[2] + pause(700), pause(200) + sentences()[0] + pause(1200)
    for number in range(max(len(frames_of(anna)), len(frames_of(ben)))):
        frames = {speaker: frames[number] for speaker, frames in ((ANNA, frames_of(anna)), (BEN, frames_of(ben))) if number < len(frames)}
        found += [(speaker, type(event)) for speaker, event in speech_input.push(frames)]
    found += [(speaker, type(event)) for _ in range(40) for speaker, event in speech_input.push({})]
    assert found[:2] == [(ANNA, SpeechStarted), (BEN, SpeechStarted)]
    assert sorted(found[2:]) == [(ANNA, Utterance), (BEN, Utterance)]


async def test_a_closed_gate_ends_an_utterance(pool: DetectorPool) -> None:
    """Nothing sent is silence: the end comes after the pause without a single packet."""
    speech_input = SpeechInput(pool, Endpointing(end_of_speech_ms=500))
    assert kinds(hear(speech_input, sentences()[0])) == [SpeechStarted]
    assert speech_input.voiced_ms(ANNA) > 300
    ticks = next(number for number in range(1, 100) if speech_input.push({}))
    assert 400 <= ticks * ENGINE.frame_ms <= 620
    assert speech_input.voiced_ms(ANNA) == 0


async def test_a_cough_is_discarded(pool: DetectorPool) -> None:
    """A sound too short to be words ends as nothing."""
    sentence = sentences()[0]
    short = pause(300) + sentence[ENGINE.bytes_of_ms(120) : ENGINE.bytes_of_ms(290)] + pause(700)
    assert kinds(hear(SpeechInput(pool), short)) in ([SpeechStarted, Discarded], [])


async def test_a_pause_costs_no_detection() -> None:
    """Shortly after the last packet nobody asks the detector any more, and the next sentence is whole again."""
    made: list[Counting] = []

    def make() -> Detector:
        made.append(Counting())
        return made[-1]

    pool = DetectorPool(make)
    await pool.fill()
    speech_input = SpeechInput(pool)
    hear(speech_input, sentences()[0])
    before = sum(one.calls for one in made)
    for _ in range(FORGET_MS // ENGINE.frame_ms - 1):
        speech_input.push({})
    asked = sum(one.calls for one in made) - before
    assert LISTEN_ON_MS // VAD.frame_ms - 1 <= asked <= LISTEN_ON_MS // VAD.frame_ms + 1 < FALL_ASLEEP_MS // VAD.frame_ms
    assert kinds(hear(speech_input, sentences()[1] + pause(700))) == [SpeechStarted, Utterance]


async def test_who_is_long_silent_gives_the_detector_back(pool: DetectorPool) -> None:
    """A channel through which many people pass needs few detectors."""
    speech_input = SpeechInput(pool)
    for speaker in range(5):
        speech_input.push({speaker: ENGINE.silence})
        for _ in range(FORGET_MS // ENGINE.frame_ms):
            speech_input.push({})
    assert pool.take() is not None
    assert pool.take() is not None
    assert pool.take() is None


async def test_words_wait_for_a_detector_that_is_being_made() -> None:
    """Who begins before a detector is ready loses nothing."""
    pool = DetectorPool()
    speech_input = SpeechInput(pool)
    assert hear(speech_input, pause(200) + sentences()[0]) == []
    await pool.fill()
    events = hear(speech_input, pause(700))
    assert kinds(events) == [SpeechStarted, Utterance]
    assert length_ms(events[1]) > ENGINE.duration_ms(len(sentences()[0])) - 250


async def test_closing_gives_everything_back(pool: DetectorPool) -> None:
    """A call that ends leaves its detectors to the next."""
    speech_input = SpeechInput(pool)
    speech_input.push({ANNA: ENGINE.silence, BEN: ENGINE.silence})
    assert pool.take() is None
    speech_input.forget_everybody()
    assert pool.take() is not None


class Loud:
    """A detector that takes everything but silence for speech, and costs nothing to make."""

    def probability(self, window: bytes) -> float:
        return float(any(window))

    def reset(self) -> None:
        pass


async def test_a_crowd_costs_no_more_than_so_many_ears() -> None:
    """However many people send sound at once, so many are heard, whole; the others' frames are counted and heard once somebody rests."""
    metrics, talk = Metrics(), b"\1\1" * ENGINE.frame_samples
    pool = DetectorPool(Loud)
    speech_input = SpeechInput(pool, metrics=metrics)
    started: list[int] = []
    for _ in range(30):
        await pool.fill()
        started += [speaker for speaker, event in speech_input.push(dict.fromkeys(range(100), talk)) if isinstance(event, SpeechStarted)]
    assert started == list(range(MOST_SPEAKERS))
    assert metrics.counter("hearing.unheard").value == 30 * (100 - MOST_SPEAKERS)
    for _ in range(40):
        speech_input.push({})
    for _ in range(30):
        await pool.fill()
        started += [speaker for speaker, event in speech_input.push({99: talk}) if isinstance(event, SpeechStarted)]
    assert started[MOST_SPEAKERS:] == [99]


async def test_who_is_in_the_middle_of_a_sentence_keeps_the_ear() -> None:
    """A breath between two words is no rest: nobody who comes then takes the place."""
    talk = b"\1\1" * ENGINE.frame_samples
    pool = DetectorPool(Loud)
    speech_input = SpeechInput(pool)
    for _ in range(30):
        await pool.fill()
        speech_input.push(dict.fromkeys(range(MOST_SPEAKERS), talk))
    for _ in range(LISTEN_ON_MS // ENGINE.frame_ms + 2):
        speech_input.push({99: talk})
    assert speech_input.speaking() == list(range(MOST_SPEAKERS))


async def test_a_packet_that_is_late_costs_nobody_the_ear() -> None:
    """Who was heard a moment ago and has not begun an utterance yet is not sent away for somebody else."""
    metrics = Metrics()
    speech_input = SpeechInput(DetectorPool(Loud), metrics=metrics)
    speech_input.push(dict.fromkeys(range(MOST_SPEAKERS), ENGINE.silence))
    for _ in range(LISTEN_ON_MS // ENGINE.frame_ms):
        speech_input.push({99: ENGINE.silence})
    assert metrics.counter("hearing.unheard").value == LISTEN_ON_MS // ENGINE.frame_ms
    speech_input.push({99: ENGINE.silence})
    speech_input.push({99: ENGINE.silence})
    assert metrics.counter("hearing.unheard").value == LISTEN_ON_MS // ENGINE.frame_ms + 1
