"""Utterances are found, whole and apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.hearing.segmenter import VAD, Discarded, Endpointing, Segmenter, SegmenterEvent, SpeechStarted, Utterance

QUIET, SPEECH = VAD.silence, b"\1\1" * VAD.frame_samples
END_WINDOWS = 16
"""500 ms of pause, in windows of 32 ms."""


def loud(window: bytes) -> float:
    return 0.9 if window[0] else 0.1


def run(pattern: str, endpointing: Endpointing | None = None) -> list[SegmenterEvent]:
    """`s` is a window of speech, `.` one of quiet, `-` one that was never sent."""
    segmenter = Segmenter(loud, endpointing)
    windows = {"s": SPEECH, ".": QUIET, "-": None}
    return [event for sign in pattern for event in segmenter.push(windows[sign])]


def test_a_sentence_is_one_utterance() -> None:
    """It begins once it is certain, ends after the pause, and keeps a little before and after."""
    started, utterance = run("." * 20 + "s" * 30 + "." * END_WINDOWS)
    assert started == SpeechStarted()
    assert isinstance(utterance, Utterance)
    assert utterance.voiced_ms == 30 * 32
    assert utterance.pcm.startswith(QUIET)
    assert utterance.pcm.count(SPEECH) == 30
    assert utterance.pcm.endswith(QUIET)
    assert utterance.lasted_ms == (30 + END_WINDOWS) * 32, "without what is kept before it, with the whole pause behind it"


def test_a_closed_gate_ends_an_utterance_too() -> None:
    """Nothing sent is silence: the end does not wait for packets."""
    assert [type(event) for event in run("s" * 20 + "-" * END_WINDOWS)] == [SpeechStarted, Utterance]


def test_a_short_pause_does_not_split() -> None:
    """A breath of less than the end of speech belongs to the utterance."""
    assert [type(event) for event in run("s" * 10 + "." * (END_WINDOWS - 1) + "s" * 10 + "." * END_WINDOWS)] == [SpeechStarted, Utterance]


def test_two_sentences_are_two_utterances() -> None:
    """After a pause the next one begins anew: each has its own speech, all of it and nothing of the other's."""
    events = run(("s" * 12 + "." * END_WINDOWS) * 2)
    assert [type(event) for event in events] == [SpeechStarted, Utterance] * 2
    assert [event.pcm.count(SPEECH) for event in events if isinstance(event, Utterance)] == [12, 12]


def test_a_click_is_nothing_and_a_cough_is_discarded() -> None:
    """One window does not start speech; too little voice is no utterance."""
    assert run("..s.." * 5) == []
    assert [type(event) for event in run("s" * 12 + "." * END_WINDOWS + "s" + "." * 20)] == [SpeechStarted, Utterance]
    assert run("." * 5 + "s" * 4 + "." * END_WINDOWS) == [SpeechStarted(), Discarded()]


@pytest.mark.parametrize("pattern", ["s" * 200, "sssss..........." * 13, "s...............-" + "sss............" * 14])
def test_an_open_microphone_cannot_hold_a_turn(pattern: str) -> None:
    """Endless speech, and noise that never ends for long enough, are handed over in pieces of bounded length."""
    most = 50
    events = run(pattern, Endpointing(max_utterance_ms=32 * most))
    utterances = [event for event in events if isinstance(event, Utterance)]
    assert len(utterances) >= 3
    assert max(len(event.pcm) for event in utterances) == most * VAD.frame_bytes


RUNS = st.lists(st.tuples(st.sampled_from("s.-"), st.integers(1, 40)), max_size=14)
LONG_ENOUGH = 8
"""Windows of speech that are an utterance by themselves: 256 ms."""


@given(RUNS)
def test_no_speech_is_handed_over_twice_or_lost(runs: list[tuple[str, int]]) -> None:
    """Each window of speech is in at most one utterance, in its order; each stretch that is long enough is there, whole."""
    segmenter = Segmenter(lambda window: 0.9 if any(window[:2]) else 0.1)
    events: list[SegmenterEvent] = []
    expected: set[int] = set()
    number = 0
    for sign, length in [*runs, (".", END_WINDOWS)]:
        for _ in range(length):
            number += 1
            window = number.to_bytes(2, "little") * VAD.frame_samples if sign == "s" else QUIET
            events += segmenter.push(None if sign == "-" else window)
        if sign == "s" and length >= LONG_ENOUGH:
            expected |= set(range(number - length + 1, number + 1))
    handed_over = [
        int.from_bytes(event.pcm[start : start + 2], "little")
        for event in events
        if isinstance(event, Utterance)
        for start in range(0, len(event.pcm), VAD.frame_bytes)
    ]
    spoken = [number for number in handed_over if number]
    assert spoken == sorted(set(spoken))
    assert expected <= set(spoken)
    assert [isinstance(event, SpeechStarted) for event in events] == [index % 2 == 0 for index in range(len(events))]
