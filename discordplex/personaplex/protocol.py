"""Messages of the Moshi protocol: a kind byte and a payload, in WebSocket binary messages, both ways. Pure.

How each server uses a kind was read from, and tried against, NVIDIA's `server.py`, `moshi` 0.2.13 and kyutai's Rust backend:

| kind | meaning | notes |
|---|---|---|
| 00 | handshake | NVIDIA sends the kind alone, kyutai's Rust backend eight bytes of versions, its web client two |
| 01 | audio | OggOpus bytes, any number of pages or parts of one |
| 02 | text | UTF-8: one SentencePiece piece |
| 03 | control | defined, never sent by a server, ignored by all of them |
| 04 | metadata | JSON; sent by the Rust backend alone |
| 05 | error | UTF-8; defined, never seen |
| 06 | ping | no payload, no answer |

Other kinds exist in `moshi-server` (coloured text, images, codes): they parse as `Other` and may be ignored.
"""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from discordplex.errors import RemoteProtocolError


class Kind(enum.IntEnum):
    """The first byte of a message."""

    HANDSHAKE = 0
    AUDIO = 1
    TEXT = 2
    CONTROL = 3
    METADATA = 4
    ERROR = 5
    PING = 6


AUDIO = bytes((Kind.AUDIO,))
"""What a message with audio begins with."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The prompts are loaded: send audio from now on. `versions` is what some servers append."""

    versions: bytes = b""


@dataclass(frozen=True, slots=True)
class AudioBytes:
    """The next bytes of the sender's OggOpus stream."""

    ogg: bytes


@dataclass(frozen=True, slots=True)
class TextPiece:
    """One SentencePiece piece, its word mark already a space; see `text.py` for the rest."""

    text: str


@dataclass(frozen=True, slots=True)
class ErrorText:
    """The server says what is wrong."""

    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """A kind without use for a call: control, metadata, ping, and everything that is not in this table."""

    kind: int
    payload: bytes = b""


Message: TypeAlias = Handshake | AudioBytes | TextPiece | ErrorText | Other


def parse(data: bytes | str) -> Message | None:
    """The meaning of one WebSocket message; None for an empty one, which every server ignores.

    Raises RemoteProtocolError, and nothing else, for a WebSocket text message and for text that is not UTF-8.
    """
    if isinstance(data, str):
        raise RemoteProtocolError("the server sent a WebSocket text message; this protocol has binary ones only")
    if not data:
        return None
    kind, payload = data[0], bytes(data[1:])
    if kind == Kind.HANDSHAKE:
        return Handshake(payload)
    if kind == Kind.AUDIO:
        return AudioBytes(payload)
    if kind == Kind.TEXT:
        return TextPiece(utf8_of(payload))
    if kind == Kind.ERROR:
        return ErrorText(utf8_of(payload))
    return Other(kind, payload)


def encode(message: Message) -> bytes:
    """The bytes of a message; `parse` gives it back."""
    if isinstance(message, Handshake):
        return bytes((Kind.HANDSHAKE,)) + message.versions
    if isinstance(message, AudioBytes):
        return AUDIO + message.ogg
    if isinstance(message, TextPiece):
        return bytes((Kind.TEXT,)) + message.text.encode()
    if isinstance(message, ErrorText):
        return bytes((Kind.ERROR,)) + message.text.encode()
    return bytes((message.kind,)) + message.payload


def utf8_of(payload: bytes) -> str:
    """The text of a payload. Raises RemoteProtocolError where it is none."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("the server sent text that is not UTF-8") from None
