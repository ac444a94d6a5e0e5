"""What the end-to-end tests share."""

import pytest

from discordplex.audio.wav import read_wav
from tests.end_to_end.sound import CLIP


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Spoken English as ENGINE PCM."""
    return read_wav(CLIP)
