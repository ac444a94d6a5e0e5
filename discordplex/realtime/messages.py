"""What the client sends, as JSON. Pure. Each shape is held against the SDK's types by the tests."""

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal

import numpy as np

from discordplex.audio.samples import FULL_SCALE, int16_of
from discordplex.engine import Persona
from discordplex.realtime.dialects import RATE_HZ, Dialect

TurnDetection = Literal["server_vad", "semantic_vad", "none"]

FORMAT: Final[Mapping[str, Any]] = {"type": "audio/pcm", "rate": RATE_HZ}

PADDING_MS: Final = 300
"""How much sound before the first loud sample belongs to an utterance: the service's own default."""

END_OF_SPEECH_MS: Final = 500
"""How long a pause ends an utterance: likewise."""

LONGEST_TURN: Final = 2000
"""Characters of a turn that a new session is told of."""


def encode(message: Mapping[str, Any]) -> str:
    """The text of a message. It is ASCII: half a character, which a server may put into an id, has no other encoding."""
    return json.dumps(message, separators=(",", ":"))


def opening(
    dialect: Dialect, persona: Persona, *, model: str, turn_detection: TurnDetection, transcription_model: str, plain: bool = False
) -> dict[str, Any]:
    """What makes a session as it shall be. `plain` leaves out what a simple server may not know."""
    if dialect.live:
        return {"type": "session.start", "session": live_session(persona, model)}
    if dialect.full_duplex:
        return {"type": "session.update", "session": duplex_session(persona, model)}
    hearing: dict[str, Any] = {"format": dict(FORMAT)}
    speaking: dict[str, Any] = {"format": dict(FORMAT)}
    if not plain:
        hearing["turn_detection"] = turns(dialect, turn_detection)
        hearing["transcription"] = {"model": transcription_model} if transcription_model else None
    if persona.voice:
        speaking["voice"] = persona.voice
    session = {
        "type": "realtime",
        "instructions": persona.text_prompt,
        "output_modalities": ["audio"],
        "audio": {"input": hearing, "output": speaking},
    }
    return {"type": "session.update", "session": session}


def turns(dialect: Dialect, wanted: TurnDetection) -> dict[str, Any] | None:
    """Who tells that somebody has finished. The server tells; whether that is a question, and whether it interrupts, is decided here.

    The server's own rule would answer a cough, and let it cut a reply.
    """
    if wanted == "none":
        return None
    rules = {"create_response": False, "interrupt_response": False}
    if wanted == "semantic_vad" and dialect.semantic_vad:
        return {"type": "semantic_vad", **rules}
    return {"type": "server_vad", "prefix_padding_ms": PADDING_MS, "silence_duration_ms": END_OF_SPEECH_MS, **rules}


def duplex_session(persona: Persona, model: str) -> dict[str, Any]:
    """What vLLM-Omni wants to know before it opens a session. Voice and role cannot change afterwards."""
    session = {
        "model": model,
        "modalities": ["audio", "text"],
        "input_audio_format": "pcm_f32le",
        "sample_rate_hz": RATE_HZ,
        "output_audio_format": "pcm16",
        "instructions": persona.text_prompt,
        "turn_detection": None,
    }
    # Without a voice the server uses its own.
    return {**session, "voice": persona.voice} if persona.voice else session


def live_session(persona: Persona, model: str) -> dict[str, Any]:
    """What GPT-Live wants to know. The role cannot change afterwards."""
    audio: dict[str, Any] = {"format": dict(FORMAT)}
    if persona.voice:
        audio["output"] = {"voice": persona.voice}
    return {"model": model, "instructions": persona.text_prompt, "audio": audio}


def append(dialect: Dialect, pcm: bytes) -> str:
    """The message that carries 24 kHz mono int16."""
    if dialect.live:
        return f'{{"type":"session.input_audio.append","audio":"{text_of(pcm)}"}}'
    if dialect.full_duplex:
        floats = (int16_of(pcm).astype("<f4") / np.float32(FULL_SCALE)).tobytes()
        return f'{{"type":"input_audio_buffer.append","format":"pcm_f32le","sample_rate_hz":{RATE_HZ},"audio":"{text_of(floats)}"}}'
    return f'{{"type":"input_audio_buffer.append","audio":"{text_of(pcm)}"}}'


def text_of(data: bytes) -> str:
    """Bytes as base64."""
    return base64.b64encode(data).decode("ascii")


def truncate(item: str, heard_ms: int) -> dict[str, Any]:
    """People heard so much of this item."""
    return {"type": "conversation.item.truncate", "item_id": item, "content_index": 0, "audio_end_ms": heard_ms}


def delete(item: str) -> dict[str, Any]:
    """The conversation goes on without this item."""
    return {"type": "conversation.item.delete", "item_id": item}


def cancel(response: str) -> dict[str, Any]:
    """Stop this reply."""
    return {"type": "response.cancel", **({"response_id": response} if response else {})}


CLEAR: Final = {"type": "input_audio_buffer.clear"}
COMMIT: Final = {"type": "input_audio_buffer.commit"}
CREATE: Final = {"type": "response.create", "event_id": "create"}
CLOSE: Final = {"type": "session.close"}


def remembered(turns_so_far: Iterable[tuple[str, str, str]]) -> list[dict[str, Any]]:
    """Items that tell a new session what was said before: for each its id, `user` or `assistant`, and the words."""
    return [
        {
            "type": "conversation.item.create",
            "item": {
                "id": item,
                "type": "message",
                "role": role,
                "content": [{"type": "input_text" if role == "user" else "output_text", "text": words[:LONGEST_TURN]}],
            },
        }
        for item, role, words in turns_so_far
        if words
    ]
