"""WAVE files as their writers really make them, right and wrong."""

import struct

import numpy as np
from numpy.typing import NDArray

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
STREAMED = 0xFFFF_FFFF


def chunk(name: bytes, body: bytes, size: int | None = None, *, pad: bool = True) -> bytes:
    """One chunk; `size` is what its header claims."""
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (pad and len(body) % 2)


def fmt(rate_hz: int, *, tag: int = PCM, channels: int = 1, bits: int = 16, extensible: bool = False) -> bytes:
    """A format chunk."""
    align = channels * bits // 8
    body = struct.pack("<HHIIHH", EXTENSIBLE if extensible else tag, channels, rate_hz, rate_hz * align & 0xFFFF_FFFF, align & 0xFFFF, bits)
    if extensible:
        body += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
    return chunk(b"fmt ", body)


def form(*chunks: bytes, size: int | None = None, name: bytes = b"RIFF") -> bytes:
    """A whole file; `size` is what its header claims."""
    body = b"WAVE" + b"".join(chunks)
    return name + struct.pack("<I", len(body) if size is None else size) + body


def file(pcm: bytes, rate_hz: int = 48_000, size: int | None = None) -> bytes:
    """A plain file of one sound chunk."""
    return form(fmt(rate_hz), chunk(b"data", pcm, size))


def stored(signal: NDArray[np.float64], bits: int, *, is_float: bool = False) -> bytes:
    """int16 values as samples of another kind hold them."""
    if is_float:
        return (signal / 32_768).astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return np.rint(signal / 256 + 128).astype(np.uint8).tobytes()
    scaled = np.rint(signal * 2.0 ** (bits - 16)).astype("<i4")
    return b"".join(int(value).to_bytes(bits // 8, "little", signed=True) for value in scaled)
