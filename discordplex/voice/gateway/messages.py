"""The messages of voice gateway v8: the server's become typed events, ours become text or bytes. Pure.

JSON messages are `{op, d, seq?}`; the server's binary ones `u16 seq | u8 op | payload`, ours `u8 op | payload`.
The server is not trusted: everything that breaks the protocol raises RemoteProtocolError, and nothing else is raised.
"""

import enum
import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

BINARY_HEAD = struct.Struct("!HB")
TRANSITION_ID = struct.Struct("!H")
MAX_SNOWFLAKE = 2**64 - 1
MAX_SSRC = 2**32 - 1
MAX_PORT = 2**16 - 1
MAX_U16 = 2**16 - 1
KEY_BYTES = 32
MAX_BYTE = 255
MIN_HEARTBEAT_S = 0.05
"""A server that asks for more than twenty heartbeats a second is not obeyed."""


class Op(enum.IntEnum):
    """Operation codes of the voice gateway."""

    IDENTIFY = 0
    SELECT_PROTOCOL = 1
    READY = 2
    HEARTBEAT = 3
    SESSION_DESCRIPTION = 4
    SPEAKING = 5
    HEARTBEAT_ACK = 6
    RESUME = 7
    HELLO = 8
    RESUMED = 9
    CLIENTS_CONNECT = 11
    CLIENT_DISCONNECT = 13
    DAVE_PREPARE_TRANSITION = 21
    DAVE_EXECUTE_TRANSITION = 22
    DAVE_READY_FOR_TRANSITION = 23
    DAVE_PREPARE_EPOCH = 24
    MLS_EXTERNAL_SENDER = 25
    MLS_KEY_PACKAGE = 26
    MLS_PROPOSALS = 27
    MLS_COMMIT_WELCOME = 28
    MLS_ANNOUNCE_COMMIT = 29
    MLS_WELCOME = 30
    MLS_INVALID_COMMIT_WELCOME = 31


@dataclass(frozen=True, slots=True)
class Incoming:
    """One message of the server: its event, None for an operation we ignore, and its number, None where it has none."""

    event: VoiceEvent | None
    seq: int | None


def parse(message: str | bytes) -> Incoming:
    """Read one message of the server. Raises RemoteProtocolError for what breaks the protocol."""
    if isinstance(message, str):
        return _parse_text(message)
    if len(message) < BINARY_HEAD.size:
        raise RemoteProtocolError(f"binary voice message of {len(message)} bytes has no head")
    seq, op = BINARY_HEAD.unpack_from(message)
    reader = BINARY.get(op)
    return Incoming(None if reader is None else reader(message[BINARY_HEAD.size :]), seq)


def _parse_text(message: str) -> Incoming:
    try:
        body = json.loads(message)
    except (ValueError, RecursionError):
        raise RemoteProtocolError("voice message is not JSON") from None
    if not isinstance(body, dict):
        raise RemoteProtocolError("voice message is not an object")
    op = _integer(body, "op", MAX_U16)
    seq = None if body.get("seq") is None else _integer(body, "seq", MAX_SNOWFLAKE)
    reader = TEXT.get(op)
    if reader is None:
        return Incoming(None, seq)
    data = body.get("d")
    return Incoming(reader(data if isinstance(data, dict) else {}), seq)


def _integer(data: dict[str, Any], key: str, maximum: int) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= maximum:
        raise RemoteProtocolError(f"voice message has no valid {key}")
    return value


def _snowflake(value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(MAX_SNOWFLAKE)):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= MAX_SNOWFLAKE:
        raise RemoteProtocolError("voice message has no valid user id")
    return value


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"voice message has no valid {key}")
    return value


def _list(data: dict[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise RemoteProtocolError(f"voice message has no valid {key}")
    return value


def _hello(data: dict[str, Any]) -> Hello:
    interval = data.get("heartbeat_interval")
    if isinstance(interval, bool) or not isinstance(interval, int | float) or not 0 < interval < MAX_SSRC or not math.isfinite(interval):
        raise RemoteProtocolError("voice message has no valid heartbeat_interval")
    return Hello(max(MIN_HEARTBEAT_S, interval / 1000))


def _ready(data: dict[str, Any]) -> GatewayReady:
    modes = tuple(mode for mode in _list(data, "modes") if isinstance(mode, str))
    return GatewayReady(_integer(data, "ssrc", MAX_SSRC), _text(data, "ip"), _integer(data, "port", MAX_PORT), modes)


def _session_description(data: dict[str, Any]) -> SessionDescription:
    numbers = _list(data, "secret_key")
    if len(numbers) != KEY_BYTES or not all(isinstance(number, int) and 0 <= number <= MAX_BYTE for number in numbers):
        raise RemoteProtocolError("voice message has no valid secret_key")
    version = 0 if data.get("dave_protocol_version") is None else _integer(data, "dave_protocol_version", MAX_U16)
    return SessionDescription(_text(data, "mode"), bytes(numbers), version)


def _heartbeat_acked(data: dict[str, Any]) -> HeartbeatAcked:
    return HeartbeatAcked(_integer(data, "t", MAX_SNOWFLAKE))


def _speaking(data: dict[str, Any]) -> Speaking:
    return Speaking(_snowflake(data.get("user_id")), _integer(data, "ssrc", MAX_SSRC), bool(data.get("speaking")))


def _people_joined(data: dict[str, Any]) -> PeopleJoined:
    return PeopleJoined(tuple(_snowflake(value) for value in _list(data, "user_ids")))


def _prepare_transition(data: dict[str, Any]) -> PrepareTransition:
    return PrepareTransition(_integer(data, "transition_id", MAX_U16), _integer(data, "protocol_version", MAX_U16))


def _prepare_epoch(data: dict[str, Any]) -> PrepareEpoch:
    return PrepareEpoch(_integer(data, "protocol_version", MAX_U16), _integer(data, "epoch", MAX_SNOWFLAKE))


def _with_transition(payload: bytes) -> tuple[int, bytes]:
    if len(payload) < TRANSITION_ID.size:
        raise RemoteProtocolError("binary voice message has no transition id")
    return TRANSITION_ID.unpack_from(payload)[0], payload[TRANSITION_ID.size :]


TEXT: dict[int, Callable[[dict[str, Any]], VoiceEvent]] = {
    Op.HELLO: _hello,
    Op.READY: _ready,
    Op.SESSION_DESCRIPTION: _session_description,
    Op.RESUMED: lambda _: GatewayResumed(),
    Op.HEARTBEAT_ACK: _heartbeat_acked,
    Op.SPEAKING: _speaking,
    Op.CLIENTS_CONNECT: _people_joined,
    Op.CLIENT_DISCONNECT: lambda data: PersonGone(_snowflake(data.get("user_id"))),
    Op.DAVE_PREPARE_TRANSITION: _prepare_transition,
    Op.DAVE_EXECUTE_TRANSITION: lambda data: ExecuteTransition(_integer(data, "transition_id", MAX_U16)),
    Op.DAVE_PREPARE_EPOCH: _prepare_epoch,
}

BINARY: dict[int, Callable[[bytes], VoiceEvent]] = {
    Op.MLS_EXTERNAL_SENDER: ExternalSender,
    Op.MLS_PROPOSALS: Proposals,
    Op.MLS_ANNOUNCE_COMMIT: lambda payload: AnnounceCommit(*_with_transition(payload)),
    Op.MLS_WELCOME: lambda payload: Welcome(*_with_transition(payload)),
}


def text(op: Op, data: Any) -> str:
    """One JSON message of ours."""
    return json.dumps({"op": int(op), "d": data}, separators=(",", ":"))


def binary(op: Op, payload: bytes) -> bytes:
    """One binary message of ours."""
    return bytes((op,)) + payload
