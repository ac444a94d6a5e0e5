"""Utterances are found, whole and apart."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.cascade.segmenter import EARS, Discarded, Endpointing, Segmenter, SegmenterEvent, SpeechStarted, Utterance

QUIET, SPEECH = EARS.silence, b"\1\1" * EARS.frame_samples
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


def test_a_closed_gate_ends_an_utterance_too() -> None:
    """Nothing sent is silence: the end does not wait for packets."""
    assert [type(event) for event in run("s" * 20 + "-" * END_WINDOWS)] == [SpeechStarted, Utterance]


def test_a_short_pause_does_not_split() -> None:
    """A breath of less than the end of speech belongs to the utterance."""
    assert [type(event) for event in run("s" * 10 + "." * (END_WINDOWS - 1) + "s" * 10 + "." * END_WINDOWS)] == [SpeechStarted, Utterance]


def test_two_sentences_are_two_utterances() -> None:
    """After a pause the next one begins anew, and none of it is lost."""
    events = run(("s" * 12 + "." * END_WINDOWS) * 2)
    assert [type(event) for event in events] == [SpeechStarted, Utterance] * 2


def test_a_click_is_nothing_and_a_cough_is_discarded() -> None:
    """One window does not start speech; too little voice is no utterance."""
    assert run("..s.." * 5) == []
    assert run("." * 5 + "s" * 4 + "." * END_WINDOWS) == [SpeechStarted(), Discarded()]


def test_an_open_microphone_cannot_hold_a_turn() -> None:
    """Endless speech is handed over in pieces."""
    events = run("s" * 200, Endpointing(max_utterance_ms=32 * 50))
    assert sum(isinstance(event, Utterance) for event in events) >= 3


@given(st.text(alphabet="s.-", max_size=300))
def test_no_speech_is_handed_over_twice(pattern: str) -> None:
    """Whatever comes, every window of speech is in at most one utterance, and starts and ends alternate."""
    events = run(pattern)
    spoken = sum(event.pcm.count(SPEECH) for event in events if isinstance(event, Utterance))
    assert spoken <= pattern.count("s")
    assert [isinstance(event, SpeechStarted) for event in events] == [index % 2 == 0 for index in range(len(events))]
