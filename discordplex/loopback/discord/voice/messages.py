"""The server's messages of voice gateway v8: opcodes, close codes, numbered text and binary messages. Pure."""

import json
import struct
from enum import IntEnum
from typing import Any

from discordplex.errors import RemoteProtocolError

VERSION = 8

SEQUENCES = 1 << 16
"""Numbered messages carry a 16-bit number, also those of text: the binary ones have no more space."""

BINARY_HEAD = struct.Struct("!HB")


class Opcode(IntEnum):
    """Opcodes. Those from 25 to 30 are binary; `seq_ack` of a resume counts the numbered ones."""

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
    VIDEO = 12
    CLIENT_DISCONNECT = 13
    CLIENT_FLAGS = 18
    CLIENT_PLATFORM = 20
    PREPARE_TRANSITION = 21
    EXECUTE_TRANSITION = 22
    TRANSITION_READY = 23
    PREPARE_EPOCH = 24
    EXTERNAL_SENDER = 25
    KEY_PACKAGE = 26
    PROPOSALS = 27
    COMMIT_WELCOME = 28
    ANNOUNCE_COMMIT = 29
    WELCOME = 30
    INVALID_COMMIT_WELCOME = 31


class Close(IntEnum):
    """Close codes of the voice gateway (documented)."""

    UNKNOWN_OPCODE = 4001
    UNDECODABLE = 4002
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    SESSION_INVALID = 4006
    SESSION_TIMEOUT = 4009
    SERVER_NOT_FOUND = 4011
    UNKNOWN_PROTOCOL = 4012
    DISCONNECTED = 4014
    SERVER_CRASHED = 4015
    UNKNOWN_MODE = 4016
    DAVE_REQUIRED = 4017
    BAD_REQUEST = 4020
    RATE_LIMITED = 4021
    CALL_TERMINATED = 4022


NORMAL_CLOSURES = (1000, 1001)
"""A client that closes with one of these has left; with anything else it may resume (documented)."""


def is_resumable(code: int) -> bool:
    """Whether a session outlives a connection that the server closed with `code`."""
    return (code < Close.UNKNOWN_OPCODE and code not in NORMAL_CLOSURES) or code == Close.SERVER_CRASHED


def text(op: int, data: Any, number: int | None = None) -> str:
    """A JSON message; with `number` where a resume may ask for it again."""
    message: dict[str, Any] = {"op": int(op), "d": data}
    if number is not None:
        message["seq"] = number % SEQUENCES
    return json.dumps(message)


def binary(op: int, payload: bytes, number: int) -> bytes:
    """A binary message of the server."""
    return BINARY_HEAD.pack(number % SEQUENCES, op) + payload


def parse_text(message: str) -> tuple[int, Any]:
    """The opcode and data of a client's JSON message. Raises RemoteProtocolError where it is none."""
    try:
        found = json.loads(message)
        return int(found["op"]), found.get("d")
    except (ValueError, TypeError, KeyError, AttributeError) as fault:
        raise RemoteProtocolError("a voice gateway message is a JSON object with an op") from fault


def parse_binary(message: bytes) -> tuple[int, bytes]:
    """The opcode and payload of a client's binary message. Raises RemoteProtocolError where it is empty."""
    if not message:
        raise RemoteProtocolError("a binary voice gateway message has an opcode")
    return message[0], message[1:]
