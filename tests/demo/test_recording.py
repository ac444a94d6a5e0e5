"""Both sides of a call on one clock."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.demo.recording import ResponseTime, Span, answers, levels, paired, spans

Voice = Callable[[Sequence[tuple[float, float]], float], bytes]


def test_spans_are_where_somebody_speaks(voice: Voice) -> None:
    """Two stretches with a real pause between are found to the frame."""
    found = spans(voice([(0.5, 1.5), (2.5, 3.0)], 4.0))
    assert [(round(span.start_s, 2), round(span.end_s, 2)) for span in found] == [(0.5, 1.5), (2.5, 3.0)]


def test_short_pauses_do_not_part_a_sentence(voice: Voice) -> None:
    """A pause between words belongs to the speech around it."""
    assert len(spans(voice([(0.5, 1.0), (1.3, 2.0)], 3.0))) == 1


def test_clicks_are_no_speech(voice: Voice) -> None:
    """A sound of two frames is not a stretch of speech."""
    assert spans(voice([(0.5, 0.54)], 1.0)) == []


@pytest.mark.parametrize("pcm", [b"", ENGINE.silence * 10])
def test_silence_has_no_spans(pcm: bytes) -> None:
    """Nothing said, nothing found."""
    assert spans(pcm) == []


def test_levels_cover_every_sample() -> None:
    """However the slices fall, each has its own root mean square."""
    pcm = np.full(ENGINE.rate_hz + 7, 16384, "<i2").tobytes()
    for per_second in (50, 33.3, 7):
        found = levels(pcm, per_second)
        assert found == pytest.approx([0.5] * len(found))
        assert len(found) == -(-(ENGINE.rate_hz + 7) // (ENGINE.rate_hz / per_second))


def test_paired_sides_are_equally_long(voice: Voice) -> None:
    """The shorter side gets silence, and stereo interleaves left and right."""
    person, bot = voice([(0.0, 0.5)], 1.0), voice([(0.0, 0.5)], 0.5)
    recording = paired(person, bot)
    assert recording.seconds == 1.0
    stereo = np.frombuffer(recording.stereo, "<i2").reshape(-1, 2)
    assert stereo[:, 0].tobytes() == person
    assert stereo[:, 1].tobytes() == bot.ljust(len(person), b"\0")


PERSON = [Span(1.0, 2.0), Span(5.0, 6.0), Span(9.0, 10.0)]


def test_answers_are_measured_from_the_end_of_speech() -> None:
    """Each sentence gets the first thing that the bot says after it."""
    bot = [Span(2.7, 3.0), Span(3.6, 4.0), Span(6.9, 7.5)]
    assert answers(PERSON, bot) == [ResponseTime(2.0, 2.7), ResponseTime(6.0, 6.9)]
    assert answers(PERSON, bot)[0].latency_ms == pytest.approx(700)


def test_what_comes_late_or_early_is_no_answer() -> None:
    """Speech of the bot before a sentence's end, or long after the last, answers nothing."""
    assert answers(PERSON, [Span(1.5, 1.9), Span(16.0, 17.0)]) == []


def test_an_echo_is_measured_from_beginning_to_beginning() -> None:
    """An echo begins while the person still speaks."""
    assert answers(PERSON, [Span(1.3, 2.3), Span(5.25, 6.2)], echo=True) == [ResponseTime(1.0, 1.3), ResponseTime(5.0, 5.25)]
