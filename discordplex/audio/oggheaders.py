"""The two header packets of an OggOpus stream (RFC 7845, section 5)."""

import struct
from typing import Final

HEAD_MAGIC: Final = b"OpusHead"
TAGS_MAGIC: Final = b"OpusTags"
VENDOR: Final = b"discordplex"


def head_packet(*, rate_hz: int, pre_skip: int, channels: int = 1) -> bytes:
    """The identification header. `pre_skip` is counted at 48 kHz, whatever `rate_hz` is."""
    return struct.pack("<8sBBHIhB", HEAD_MAGIC, 1, channels, pre_skip, rate_hz, 0, 0)


def tags_packet() -> bytes:
    """A comment header without comments."""
    return struct.pack(f"<8sI{len(VENDOR)}sI", TAGS_MAGIC, len(VENDOR), VENDOR, 0)


def is_head(packet: bytes) -> bool:
    """Whether the packet starts a stream."""
    return packet.startswith(HEAD_MAGIC)


def is_header(packet: bytes) -> bool:
    """Whether the packet is a header and no audio. No audio packet starts like this: it would be shorter than its TOC byte says."""
    return packet.startswith((HEAD_MAGIC, TAGS_MAGIC))
