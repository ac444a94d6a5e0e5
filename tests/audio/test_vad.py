"""The gate opens for speech, and stays open between words."""

import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.vad import FLOOR_DBFS, SpeechGate, level_dbfs
from tests.audio.signals import pcm, tone

SPEECH = pcm(tone(0.02, peak=3000))
BREATH = pcm(tone(0.02, peak=60))


def run(gate: SpeechGate, *frames: bytes | None) -> list[bool]:
    return [gate.update(frame) for frame in frames]


@pytest.mark.parametrize(("peak", "dbfs"), [(32_768 * 2**0.5, 0), (3276.8 * 2**0.5, -20), (327.68 * 2**0.5, -40)])
def test_level_is_the_rms(peak: float, dbfs: float) -> None:
    """A sine's level is its peak less 3 dB."""
    assert level_dbfs(pcm(tone(0.1, peak=min(peak, 32_767)))) == pytest.approx(dbfs if peak < 32_767 else -3, abs=0.1)


def test_silence_has_a_floor() -> None:
    """Zeros, one lonely bit and nothing at all have a finite level."""
    assert level_dbfs(ENGINE.silence) == level_dbfs(b"") == FLOOR_DBFS
    assert level_dbfs(b"\x01\x00" * 960) > FLOOR_DBFS


def test_it_opens_after_the_attack() -> None:
    """Two loud ticks open it; one does not."""
    assert run(SpeechGate(), SPEECH, BREATH, SPEECH, SPEECH, BREATH) == [False, False, False, True, True]


def test_it_holds_between_words() -> None:
    """300 ms of quiet close it, less does not, with or without packets."""
    gate = SpeechGate()
    run(gate, SPEECH, SPEECH)
    assert run(gate, *[BREATH] * 7, *[None] * 7) == [True] * 14
    assert run(gate, SPEECH, *[None] * 14) == [True] * 15
    assert gate.update(None) is False
    assert gate.is_open is False


def test_hysteresis_keeps_it_from_fluttering() -> None:
    """A level between the two thresholds neither opens nor closes it."""
    between = pcm(tone(0.02, peak=140))
    assert -52 < level_dbfs(between) < -45
    gate = SpeechGate()
    assert not any(run(gate, *[between] * 50))
    run(gate, SPEECH, SPEECH)
    assert all(run(gate, *[between] * 50))


def test_one_loud_frame_may_pass_before_it_opens() -> None:
    """Whoever lets frames through by the gate does not lose the one with which a word begins, nor the quiet ones until it closes."""
    gate = SpeechGate()
    passes = []
    for frame in (BREATH, SPEECH, SPEECH, BREATH, None):
        gate.update(frame)
        passes.append(gate.lets_pass)
    assert passes == [False, True, True, True, True]
