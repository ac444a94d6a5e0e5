"""What is sent has the shape that the official SDK's types describe."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from openai.types.live import ClientEvent as LiveClientEvent
from openai.types.realtime import RealtimeClientEvent
from pydantic import TypeAdapter

from discordplex.engine import Persona
from discordplex.realtime import messages
from discordplex.realtime.dialects import AZURE, GPT_LIVE, OPENAI, VLLM_OMNI, XAI, Dialect
from discordplex.realtime.messages import TurnDetection

PERSONA = Persona("marin", "You are a test.")
PCM = np.arange(-480, 480, 2, dtype="<i2").tobytes()


def valid(message: str, types: Any = RealtimeClientEvent) -> dict[str, Any]:
    """The message, if the SDK's types take it as it is."""
    found: dict[str, Any] = json.loads(message)
    seen = TypeAdapter(types).validate_python(found).model_dump(exclude_unset=True, mode="json", by_alias=True)
    assert seen == found
    return found


@pytest.mark.parametrize("turns", ["server_vad", "semantic_vad", "none"])
@pytest.mark.parametrize("transcription", ["gpt-transcribe", ""])
@pytest.mark.parametrize("voice", ["marin", ""])
@pytest.mark.parametrize("dialect", [OPENAI, AZURE, XAI], ids=lambda one: one.name)
@pytest.mark.parametrize("plain", [False, True])
def test_a_session_is_asked_for(dialect: Dialect, turns: TurnDetection, transcription: str, voice: str, *, plain: bool) -> None:
    """With every setting; the server never answers or interrupts by its own rule, and a simple server is asked for less."""
    wanted = messages.opening(dialect, Persona(voice, "x"), model="m", turn_detection=turns, transcription_model=transcription, plain=plain)
    session = valid(messages.encode(wanted))["session"]
    hearing = session["audio"]["input"]
    assert session["audio"]["output"].get("voice", "") == voice
    if plain:
        assert hearing.keys() == {"format"}
    elif turns == "none":
        assert hearing["turn_detection"] is None
    else:
        assert hearing["turn_detection"]["type"] == (turns if dialect.semantic_vad else "server_vad")
        assert (hearing["turn_detection"]["create_response"], hearing["turn_detection"]["interrupt_response"]) == (False, False)


def test_every_other_message_is_one_of_the_protocol() -> None:
    """Sound, truncation, deletion, what was said before, and the short ones."""
    assert base64.b64decode(valid(messages.append(OPENAI, PCM))["audio"]) == PCM
    for message in (
        messages.truncate("i", 5),
        messages.delete("i"),
        messages.cancel("r"),
        messages.cancel(""),
        messages.CLEAR,
        messages.COMMIT,
        messages.CREATE,
    ):
        valid(messages.encode(message))
    for item in messages.remembered([("1", "user", "Hi."), ("2", "assistant", "Hello."), ("3", "user", "")]):
        valid(messages.encode(item))
    assert len(messages.remembered([("1", "user", "")])) == 0


def test_gpt_live_has_its_own() -> None:
    """As `openai.types.live` describes them."""
    valid(messages.encode(messages.opening(GPT_LIVE, PERSONA, model="m", turn_detection="none", transcription_model="")), LiveClientEvent)
    valid(messages.append(GPT_LIVE, PCM), LiveClientEvent)


def test_vllm_omni_gets_floats() -> None:
    """The same sound between -1 and 1; the server would resample int16 to 16 kHz."""
    message = json.loads(messages.append(VLLM_OMNI, PCM))
    assert (message["format"], message["sample_rate_hz"]) == ("pcm_f32le", 24_000)
    floats = np.frombuffer(base64.b64decode(message["audio"]), "<f4")
    assert np.array_equal(np.rint(floats * 32768).astype("<i2"), np.frombuffer(PCM, "<i2"))
    session = messages.opening(VLLM_OMNI, PERSONA, model="m", turn_detection="none", transcription_model="")["session"]
    assert (session["voice"], session["instructions"], session["turn_detection"]) == ("marin", "You are a test.", None)
