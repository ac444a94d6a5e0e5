"""RealtimeOptions: what a stand-in realtime server says, and how fast."""

from dataclasses import dataclass

from discordplex.loopback.openai.realtime.replies import Replies, echo
from discordplex.loopback.openai.realtime.settings import MODELS, VOICES
from discordplex.loopback.openai.server import Hears, length_as_words


@dataclass(kw_only=True)
class RealtimeOptions:
    """How all sessions of one server behave. Change it at any time."""

    replies: Replies = echo
    hears: Hears = length_as_words
    models: tuple[str, ...] = MODELS
    voices: tuple[str, ...] = VOICES
    first_audio_ms: float = 0.0
    """From the end of a turn to the first sound of the reply."""
    times_real_time: float = 8.0
    """How fast a reply is sent."""
    transcription_ms: float = 0.0
    """From the end of a turn to the words in it."""
    session_s: float = 3600.0
    """How long a session may last."""
    max_sessions: int = 1_000
