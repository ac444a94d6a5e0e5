"""The settings of an OpenAI session: its defaults, and what an update makes of them. Pure."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from discordplex.loopback.openai.realtime.judge import Objection, not_among, session_objection

VOICES: Final = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")
MODELS: Final = ("gpt-realtime-1.5", "gpt-realtime-2", "gpt-realtime-2.1", "gpt-realtime-2.1-mini")
INSTRUCTIONS: Final = "You are a helpful, witty, and friendly AI."
PCM: Final[Mapping[str, Any]] = {"type": "audio/pcm", "rate": 24_000}
SERVER_VAD: Final[Mapping[str, Any]] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD: Final[Mapping[str, Any]] = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "session.audio.input.turn_detection.threshold": (0.0, 1.0),
    "session.audio.input.turn_detection.prefix_padding_ms": (0, 10_000),
    "session.audio.input.turn_detection.silence_duration_ms": (0, 10_000),
    "session.audio.output.speed": (0.25, 1.5),
}
"""The least and the greatest value. OpenAI documents those of the threshold and the speed; the others are assumed."""


def defaults(session_id: str, model: str, voice: str, expires_at: int) -> dict[str, Any]:
    """The session that `session.created` shows."""
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": expires_at,
        "audio": {
            "input": {"format": dict(PCM), "transcription": None, "noise_reduction": None, "turn_detection": dict(SERVER_VAD)},
            "output": {"format": dict(PCM), "voice": voice, "speed": 1.0},
        },
        "include": None,
    }


def beta_defaults(session: Mapping[str, Any]) -> dict[str, Any]:
    """The same session in the shape of the beta."""
    kept = {name: session[name] for name in ("id", "object", "model", "instructions", "tools", "tool_choice", "expires_at")}
    detection = session["audio"]["input"]["turn_detection"]
    return {
        **kept,
        "modalities": ["audio", "text"],
        "voice": session["audio"]["output"]["voice"],
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": None,
        "turn_detection": detection,
        "temperature": 0.8,
        "max_response_output_tokens": "inf",
    }


def update_objection(
    session: Mapping[str, Any], current: Mapping[str, Any], *, voices: Sequence[str], has_spoken: bool
) -> Objection | None:
    """Why an update is refused, None where it is not."""
    found = session_objection(session)
    if found is not None:
        return found
    if session.get("model", current["model"]) != current["model"]:
        return Objection("invalid_value", "Cannot update a conversation's model.", "session.model")
    if len(session.get("output_modalities") or ["audio"]) != 1:
        shown = session["output_modalities"]
        message = f"Invalid modalities: {shown}. Supported combinations are: ['text'] and ['audio']."
        return Objection("invalid_value", message, "session.output_modalities")
    return audio_objection(session, current, voices) or voice_objection(session, current, has_spoken=has_spoken)


def audio_objection(session: Mapping[str, Any], current: Mapping[str, Any], voices: Sequence[str]) -> Objection | None:
    """What is wrong with the numbers and names of the audio settings."""
    for path, (least, most) in RANGES.items():
        value = at(session, path)
        if value is not None and not least <= value <= most:
            side, bound = ("below_min", least) if value < least else ("above_max", most)
            return Objection(f"decimal_{side}_value", f"Invalid '{path}': decimal {side.replace('_', ' ')} value {bound}.", path)
    for direction in ("input", "output"):
        path = f"session.audio.{direction}.format"
        if (at(session, path) or PCM).get("type") != PCM["type"]:
            return Objection("invalid_value", f"The stand-in speaks audio/pcm only, not {at(session, path)}.", path)
    voice = voice_of(session)
    if voice and voice not in voices and voice != voice_of(current):
        return not_among("session.audio.output.voice", voice, list(voices))
    return None


def voice_objection(session: Mapping[str, Any], current: Mapping[str, Any], *, has_spoken: bool) -> Objection | None:
    """The voice is fixed from the first sound on."""
    if has_spoken and voice_of(session) not in ("", voice_of(current)):
        message = "Cannot update a conversation's voice if assistant audio is present."
        return Objection("cannot_update_voice", message, "session.audio.output.voice")
    return None


def updated(current: Mapping[str, Any], session: Mapping[str, Any]) -> dict[str, Any]:
    """The whole session after a valid update: what is not given stays."""
    new = copy.deepcopy({**current, **{name: value for name, value in session.items() if name != "audio"}})
    for direction, given in (session.get("audio") or {}).items():
        new["audio"][direction].update(copy.deepcopy(given or {}))
    detection = new["audio"]["input"]["turn_detection"]
    if detection is not None:
        new["audio"]["input"]["turn_detection"] = {**(SERVER_VAD if detection["type"] == "server_vad" else SEMANTIC_VAD), **detection}
    for direction in ("input", "output"):
        new["audio"][direction]["format"] = {**PCM, **(new["audio"][direction]["format"] or {})}
    return new


def voice_of(session: Mapping[str, Any]) -> str:
    """The voice that a session names, a custom one by its id; empty where it names none."""
    voice = at(session, "session.audio.output.voice") or ""
    return str(voice.get("id", "")) if isinstance(voice, dict) else str(voice)


def at(session: Mapping[str, Any], path: str) -> Any:
    """The value at `session.a.b`; None where there is none."""
    value: Any = session
    for name in path.split(".")[1:]:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
