"""The voice gateway's messages against texts and bytes written out by hand."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.errors import RemoteProtocolError
from discordplex.voice.gateway.events import (
    AnnounceCommit,
    ExecuteTransition,
    ExternalSender,
    GatewayReady,
    GatewayResumed,
    HeartbeatAcked,
    Hello,
    PeopleJoined,
    PersonGone,
    PrepareEpoch,
    PrepareTransition,
    Proposals,
    SessionDescription,
    Speaking,
    VoiceEvent,
    Welcome,
)
from discordplex.voice.gateway.messages import BINARY, TEXT, Incoming, Op, binary, parse, text

EXAMPLES: list[tuple[str | bytes, VoiceEvent, int | None]] = [
    ('{"op":8,"d":{"v":8,"heartbeat_interval":13750}}', Hello(13.75), None),
    (
        '{"op":2,"d":{"ssrc":7,"ip":"127.0.0.1","port":50004,"modes":["a","b"],"heartbeat_interval":1},"seq":1}',
        GatewayReady(7, "127.0.0.1", 50_004, ("a", "b")),
        1,
    ),
    (
        json.dumps({"op": 4, "d": {"mode": "a", "secret_key": list(range(32)), "dave_protocol_version": 1}, "seq": 2}),
        SessionDescription("a", bytes(range(32)), 1),
        2,
    ),
    (json.dumps({"op": 4, "d": {"mode": "a", "secret_key": [0] * 32}}), SessionDescription("a", bytes(32), 0), None),
    ('{"op":9,"d":null}', GatewayResumed(), None),
    ('{"op":6,"d":{"t":1501184119561}}', HeartbeatAcked(1501184119561), None),
    ('{"op":5,"d":{"user_id":"80351110224678912","ssrc":9,"speaking":1}}', Speaking(80351110224678912, 9, speaking=True), None),
    ('{"op":11,"d":{"user_ids":["1","2"]},"seq":3}', PeopleJoined((1, 2)), 3),
    ('{"op":13,"d":{"user_id":"2"}}', PersonGone(2), None),
    ('{"op":21,"d":{"protocol_version":1,"transition_id":17}}', PrepareTransition(17, 1), None),
    ('{"op":22,"d":{"transition_id":17}}', ExecuteTransition(17), None),
    ('{"op":24,"d":{"protocol_version":1,"epoch":1}}', PrepareEpoch(1, 1), None),
    (bytes.fromhex("0102 19") + b"package", ExternalSender(b"package"), 0x0102),
    (bytes.fromhex("0103 1b 00") + b"list", Proposals(b"\x00list"), 0x0103),
    (bytes.fromhex("0104 1d 0011") + b"commit", AnnounceCommit(17, b"commit"), 0x0104),
    (bytes.fromhex("0105 1e 0011") + b"welcome", Welcome(17, b"welcome"), 0x0105),
]


@pytest.mark.parametrize(("message", "event", "seq"), EXAMPLES)
def test_every_kind_is_read(message: str | bytes, event: VoiceEvent, seq: int | None) -> None:
    """Each message that the server may send becomes its fact, with its number."""
    assert parse(message) == Incoming(event, seq)


def test_no_kind_is_without_an_example() -> None:
    """A reader that is added has to be proven above."""
    assert {type(event) for _, event, _ in EXAMPLES} == set(VoiceEvent.__args__)
    assert len(TEXT) + len(BINARY) == len(set(VoiceEvent.__args__))


@pytest.mark.parametrize("message", ['{"op":18,"d":{"flags":3},"seq":4}', '{"op":99,"seq":4}', bytes.fromhex("0004 63 01")])
def test_unknown_operations_are_counted_and_ignored(message: str | bytes) -> None:
    """Undocumented operations carry numbers too, which have to be acknowledged."""
    assert parse(message) == Incoming(None, 4)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"op":true}',
        '{"op":8}',
        '{"op":8,"d":{"heartbeat_interval":NaN}}',
        '{"op":8,"d":{"heartbeat_interval":-1}}',
        '{"op":2,"d":{"ssrc":4294967296,"ip":"1","port":1,"modes":[]}}',
        '{"op":4,"d":{"mode":"a","secret_key":[1,2,3]}}',
        '{"op":4,"d":{"mode":"a","secret_key":"' + "x" * 32 + '"}}',
        '{"op":5,"d":{"user_id":"\\uff11","ssrc":1}}',
        '{"op":11,"d":{"user_ids":["' + "9" * 5000 + '"]}}',
        '{"op":13,"d":{"user_id":"99999999999999999999"}}',
        b"",
        b"\x00\x01",
        bytes.fromhex("0001 1d 00"),
    ],
)
def test_what_breaks_the_protocol_is_the_servers_fault(message: str | bytes) -> None:
    """Wrong types, wrong ranges, deep nesting and cut messages raise RemoteProtocolError."""
    with pytest.raises(RemoteProtocolError):
        parse(message)


def test_a_key_is_not_shown() -> None:
    """The transport's key does not reach a log by way of a repr."""
    assert "key" not in repr(SessionDescription("a", b"k" * 32, 0))


def test_our_own_messages() -> None:
    """JSON without spaces; binary ones begin with their operation and have no number."""
    assert text(Op.SPEAKING, {"ssrc": 1}) == '{"op":5,"d":{"ssrc":1}}'
    assert binary(Op.MLS_KEY_PACKAGE, b"package") == b"\x1apackage"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["heartbeat_interval", "ssrc", "ip", "port", "modes", "mode", "secret_key", "user_id", "user_ids", "transition_id", "epoch", "t"]
)


@given(op=st.sampled_from(sorted(Op)) | JSON, data=st.dictionaries(KEYS, JSON) | JSON, seq=JSON)
def test_no_text_escapes_as_another_exception(op: object, data: object, seq: object) -> None:
    """Whatever JSON a server sends, parse answers or raises RemoteProtocolError."""
    with contextlib.suppress(RemoteProtocolError):
        parse(json.dumps({"op": op, "d": data, "seq": seq}))


@given(message=st.binary(max_size=40) | st.text(max_size=40))
def test_no_bytes_escape_as_another_exception(message: str | bytes) -> None:
    """Nor do bytes and texts that are no message at all."""
    with contextlib.suppress(RemoteProtocolError):
        parse(message)
