"""What a server says, whatever it says, becomes a fact or is passed over; nothing of it raises anything else than RemoteProtocolError."""

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.errors import RemoteProtocolError
from discordplex.realtime import endings
from discordplex.realtime.dialects import GPT_LIVE, OTHER, VLLM_OMNI, Dialect
from discordplex.realtime.protocol import (
    LARGE,
    LARGEST_SOUND,
    PIECE_CHARACTERS,
    Committed,
    Fact,
    Greeted,
    MessageRefused,
    Over,
    PersonWords,
    Ready,
    RealtimeProtocol,
    ReplyBegan,
    ReplyEnded,
    ReplySound,
    ReplyWords,
    SpeechBegan,
    SpeechEnded,
)


def facts(*events: dict[str, Any], dialect: Dialect = OTHER) -> list[Fact]:
    """What these events mean."""
    return facts_of(*map(json.dumps, events), dialect=dialect)


def facts_of(*messages: str, dialect: Dialect = OTHER) -> list[Fact]:
    """What these messages mean."""
    protocol = RealtimeProtocol(dialect)
    for message in messages:
        protocol.receive(message)
    return protocol.take_facts()


GA_SESSION = {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad", "create_response": False}}}}
OWN_TURNS = {"type": "realtime", "audio": {"input": {"turn_detection": {"type": "server_vad"}}}}

EVENTS: list[tuple[dict[str, Any], list[Fact]]] = [
    ({"type": "session.created", "session": GA_SESSION, "news": 1}, [Greeted()]),
    ({"type": "conversation.created"}, [Greeted()]),
    ({"type": "session.updated", "session": GA_SESSION}, [Ready(creates_replies=False, expires_at=None)]),
    ({"type": "session.updated", "session": {**OWN_TURNS, "expires_at": 9}}, [Ready(creates_replies=True, expires_at=9.0)]),
    ({"type": "session.updated", "session": {"audio": {"input": {"turn_detection": None}}}}, [Ready(False, None)]),
    ({"type": "session.updated"}, [Ready(True, None)]),
    ({"type": "input_audio_buffer.speech_started", "item_id": "a", "audio_start_ms": 7}, [SpeechBegan("a", 7.0)]),
    ({"type": "input_audio_buffer.speech_stopped", "item_id": "a", "audio_end_ms": 9}, [SpeechEnded("a", 9.0)]),
    ({"type": "input_audio_buffer.committed", "item_id": "a"}, [Committed("a")]),
    ({"type": "response.created", "response": {"id": "r"}}, [ReplyBegan("r")]),
    ({"type": "response.output_audio.delta", "item_id": "b", "delta": "AAEC/w=="}, [ReplySound("b", b"\x00\x01\x02\xff")]),
    ({"type": "response.output_audio_transcript.delta", "item_id": "b", "delta": "Hi"}, [ReplyWords("b", "Hi")]),
    ({"type": "response.output_audio_transcript.done", "item_id": "b", "transcript": "Hi"}, [ReplyWords("b", "", final=True)]),
    (
        {"type": "conversation.item.input_audio_transcription.completed", "item_id": "a", "transcript": "Hey"},
        [PersonWords("a", "Hey", final=True)],
    ),
    (
        {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": {"input_tokens": 3}}},
        [ReplyEnded("r", None, 3, 0)],
    ),
    ({"type": "error", "error": {"code": "invalid_value", "param": "session.audio"}}, [MessageRefused("invalid_value", "session.audio")]),
    ({"type": "error", "error": {"code": "she said 4711", "param": "4711"}}, [MessageRefused("unknown code", "")]),
    ({"type": "rate_limits.updated"}, []),
    ({"type": "ping"}, []),
    ({"type": "something.new", "item_id": {}}, []),
    ({"type": 5}, []),
]


@pytest.mark.parametrize(("event", "expected"), EVENTS, ids=[str(event["type"]) for event, _ in EVENTS])
def test_an_event_is_a_fact(event: dict[str, Any], expected: list[Fact]) -> None:
    """One for each that matters; the others pass."""
    assert facts(event) == expected


ENDS = [
    ("invalid_api_key", "bad key", False),
    ("invalid_model", "no such model", False),
    ("insufficient_quota", "no quota", False),
    ("rate_limit_exceeded", "rate limit", True),
    ("session_expired", endings.EXPIRED, True),
    ("resource_exhausted", "busy", True),
    ("beta_api_shape_disabled", "beta refused", False),
]


def test_long_sound_is_decoded_a_piece_at_a_time() -> None:
    """Each is short; together they are what was sent, up to a piece that is no base64."""
    pcm = bytes(range(256)) * 1000
    protocol = RealtimeProtocol(OTHER)
    protocol.receive(json.dumps({"type": "response.output_audio.delta", "item_id": "b", "delta": base64.b64encode(pcm).decode()}))
    pieces = protocol.take_facts()
    while protocol.has_more_sound:
        protocol.decode()
        pieces += protocol.take_facts()
    sounds = [piece.pcm for piece in pieces if isinstance(piece, ReplySound)]
    assert b"".join(sounds) == pcm
    assert max(map(len, sounds)) <= PIECE_CHARACTERS * 3 // 4 + 1
    protocol.receive(json.dumps({"type": "response.output_audio.delta", "item_id": "b", "delta": "A" * 40_000 + "%" * 100_000}))
    with pytest.raises(RemoteProtocolError):
        protocol.decode()
    assert not protocol.has_more_sound


@pytest.mark.parametrize("last", [False, True], ids=["type first", "type last"])
def test_of_large_messages_only_the_sound_of_a_reply_is_read(*, last: bool) -> None:
    """A complete item repeats it all: it is neither parsed nor an error, whatever it is."""

    def message(kind: str, size: int) -> str:
        fields = [f'"type":"{kind}"', f'"delta":"{"A" * size}"']
        return "{" + ",".join(reversed(fields) if last else fields) + "}"

    protocol = RealtimeProtocol(OTHER)
    protocol.receive(message("conversation.item.done", 14 << 20))
    protocol.receive("9" * (1 << 20))
    assert protocol.take_facts() == []
    protocol.receive(message("response.output_audio.delta", LARGE))
    assert protocol.take_facts() == [ReplySound("", bytes(PIECE_CHARACTERS * 3 // 4))]
    with pytest.raises(RemoteProtocolError):
        protocol.receive(message("response.output_audio.delta", LARGEST_SOUND))


def test_a_number_of_many_digits_takes_no_time() -> None:
    """Python would take a quadratic time for it, or refuse it."""
    (fact,) = facts_of(f'{{"type":"input_audio_buffer.speech_started","item_id":"a","audio_start_ms":{"9" * 100_000}}}')
    assert fact == SpeechBegan("a", 0.0)


@pytest.mark.parametrize(("code", "cause", "retry"), ENDS)
def test_some_errors_are_the_end(code: str, cause: str, *, retry: bool) -> None:
    """With a sentence of ours: what the server writes may hold a key."""
    secret = "sk-proj-0123456789abcdef"
    (fact,) = facts({"type": "error", "error": {"code": code, "message": f"Incorrect API key provided: {secret}."}})
    assert isinstance(fact, Over)
    assert (fact.ending.cause, fact.ending.retry) == (cause, retry)
    assert secret not in repr(fact)
    if code != "session_expired":
        (done,) = facts({"type": "response.done", "response": {"status": "failed", "status_details": {"error": {"code": code}}}})
        assert isinstance(done, ReplyEnded)
        assert done.failure == fact.ending


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        ({"type": "session.closed", "reason": "client_close"}, endings.EXPIRED),
        ({"type": "session.expired", "reason": "idle_ttl_expired"}, endings.EXPIRED),
        ({"type": "session.closed", "reason": "runtime_append_failed"}, "runtime_append_failed"),
        ({"type": "session.closed", "reason": "she said 4711, it failed"}, "unknown code"),
        ({"type": "error", "error": {"code": "server_error", "message": "context_length_exceeded: 3001 tokens"}}, endings.EXPIRED),
    ],
)
def test_a_session_that_the_server_ends(event: dict[str, Any], cause: str) -> None:
    """By its clock, at the end of the model's context, or by a fault."""
    (fact,) = facts(event, dialect=VLLM_OMNI)
    assert isinstance(fact, Over)
    assert (fact.ending.cause, fact.ending.retry) == (cause, True)


def test_no_word_of_a_server_is_a_cause() -> None:
    """An error code may be anything: only those that are known here get into the log."""
    error = {"code": "she said 4711"}
    (done,) = facts({"type": "response.done", "response": {"status": "failed", "status_details": {"error": error}}})
    assert isinstance(done, ReplyEnded)
    assert done.failure is not None
    assert done.failure.cause == "unknown code"


def test_a_beta_server_is_told_as_one() -> None:
    """By its first event, or by what it refuses."""
    first = facts({"type": "session.created", "session": {"modalities": ["audio"], "input_audio_format": "pcm16"}})
    refused = facts({"type": "error", "error": {"code": "unknown_parameter", "param": "session.type"}})
    assert [fact.ending.cause for fact in (*first, *refused) if isinstance(fact, Over)] == ["beta server"] * 2


def test_the_duplex_dialects() -> None:
    """vLLM-Omni is ready when it has created the session that it was asked for; GPT-Live's words have no items."""
    assert Ready(True, None) in facts({"type": "session.created", "session": {"capabilities": {}}}, dialect=VLLM_OMNI)
    said = facts(
        {"type": "session.started"},
        {"type": "session.output_audio.delta", "audio": "AAE="},
        {"type": "session.output_transcript.delta", "delta": "Hi"},
        {"type": "session.input_transcript.delta", "delta": "Hey"},
        dialect=GPT_LIVE,
    )
    assert said[1:] == [Ready(True, None), ReplySound("", b"\x00\x01"), ReplyWords("", "Hi"), PersonWords("", "Hey", final=False)]


NAMES = st.sampled_from(["type", "item_id", "delta", "audio", "session", "response", "error", "code", "status_details", "usage"])
PLAIN = st.none() | st.booleans() | st.floats() | st.text(max_size=20)
JUNK = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
KINDS = st.sampled_from([str(event["type"]) for event, _ in EVENTS])


@given(st.dictionaries(NAMES, JUNK), KINDS)
def test_no_event_does_harm(event: dict[str, Any], kind: str) -> None:
    """Fields of any shape in events of any kind."""
    with contextlib.suppress(RemoteProtocolError):
        facts({**event, "type": kind})


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        b"\xff\xfe",
        f"[{'{},' * 80_000}0]",
        f"[{'{},' * 80_000}0]".encode(),
        '{"type":"response.output_audio.delta","delta":"%%%"}',
    ],
)
def test_what_makes_no_sense_is_an_error_of_theirs(message: str | bytes) -> None:
    """Not JSON, no object, no base64."""
    with pytest.raises(RemoteProtocolError):
        RealtimeProtocol(OTHER).receive(message)
