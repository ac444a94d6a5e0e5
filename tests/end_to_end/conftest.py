"""What the end-to-end tests share."""

import pytest

from discordplex.loopback.discord.recording import load_speech
from tests.end_to_end.home import CLIP


@pytest.fixture(scope="session")
def speech() -> bytes:
    """Spoken English as ENGINE PCM."""
    return load_speech(CLIP)
