"""Voices to draw and measure: tones where somebody speaks, silence elsewhere."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from discordplex.audio.format import ENGINE

Voice = Callable[[Sequence[tuple[float, float]], float], bytes]


@pytest.fixture
def voice() -> Voice:
    """Makes ENGINE PCM with a tone in each (start, end), `seconds` long."""

    def make(spoken: Sequence[tuple[float, float]], seconds: float) -> bytes:
        wave = np.zeros(round(seconds * ENGINE.rate_hz))
        for start_s, end_s in spoken:
            first, last = round(start_s * ENGINE.rate_hz), round(end_s * ENGINE.rate_hz)
            wave[first:last] = 8000 * np.sin(np.arange(last - first) * 2 * np.pi * 440 / ENGINE.rate_hz)
        return wave.astype("<i2").tobytes()

    return make
