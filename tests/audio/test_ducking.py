"""The voice steps back for people, and only for people."""

from discordplex.audio.ducking import AUDIBLE_DBFS, DUCKED_GAIN, HOLD_S, Ducking
from discordplex.audio.samples import FULL_SCALE
from discordplex.loopback.clock import FakeClock
from tests.audio.signals import stereo, tone


async def test_it_is_down_while_somebody_is_audible_and_a_little_longer() -> None:
    """Each audible packet renews the time; packets below the mark and empty ones do not."""
    clock = FakeClock()
    ducking = Ducking(clock=clock)
    peak = FULL_SCALE * 2**0.5 * 10 ** (AUDIBLE_DBFS / 20)
    for factor, gain in ((0.9, 1.0), (1.1, DUCKED_GAIN), (0.9, DUCKED_GAIN)):
        ducking.hear(stereo(tone(0.02, hz=500, peak=factor * peak)))
        ducking.hear(b"")
        assert ducking.gain == gain
    await clock.advance(HOLD_S * 0.9)
    assert ducking.gain == DUCKED_GAIN
    await clock.advance(HOLD_S * 0.2)
    assert ducking.gain == 1.0
