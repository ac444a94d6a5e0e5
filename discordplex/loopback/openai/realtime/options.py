"""RealtimeOptions: what a stand-in realtime server says, and how fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from discordplex.loopback.openai.realtime.replies import Replies, echo
from discordplex.loopback.openai.realtime.settings import MODELS, VOICES
from discordplex.loopback.openai.server import Hears, length_as_words
from discordplex.loopback.personaplex.voice_model import Echo, VoiceModelFactory
from discordplex.personaplex.endpoint import VOICES as PERSONAPLEX_VOICES

DialectName: TypeAlias = Literal["openai", "azure", "xai", "vllm-omni", "gpt-live"]


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
    step_ms: float = 25.0
    """Full duplex: how long a step of the model takes. Beyond 80 the server falls behind for ever."""
    model: VoiceModelFactory = Echo
    """Full duplex: who speaks."""
    chunk_frames: int = 5
    """`vllm-omni`: frames of 80 ms in one delta, after a first one alone; 5 as the deployment is shipped, 1 for the least delay."""
    frame_limit: int = 3000
    """`vllm-omni`: frames in the model's context; a session that outgrows it fails."""
    transcription_ms: float = 0.0
    """From the end of a turn to the words in it."""
    session_s: float = 3600.0
    """How long a session may last."""
    max_sessions: int = 1000
    """How many sessions there may be at once."""


DEFAULTS: Final[Mapping[DialectName, RealtimeOptions]] = {
    "openai": RealtimeOptions(),
    "azure": RealtimeOptions(session_s=1800.0),
    "xai": RealtimeOptions(models=("grok-voice-latest",), voices=("xai_ara", "xai_eve", "xai_leo", "xai_rex", "xai_sal")),
    "vllm-omni": RealtimeOptions(models=("nvidia/personaplex-7b-v1",), voices=PERSONAPLEX_VOICES, max_sessions=2),
    "gpt-live": RealtimeOptions(models=("gpt-live-1", "gpt-live-1.1")),
}
"""What each service has unless a test says otherwise."""
