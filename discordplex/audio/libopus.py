"""The functions of libopus that the codecs use, with ctypes.

ctypes releases the GIL during each call, so encoding and decoding run beside the event loop. The library is the one in the wheel of
`opuslib_next`, or else the system's. The functions are fetched with `library["name"]`, which gives new objects, so the prototypes of
`opuslib_next` do not change.
"""

import ctypes
import ctypes.util
from ctypes import POINTER, c_char_p, c_int, c_int16, c_int32, c_void_p
from typing import Any, Final

from discordplex.errors import DiscordplexError, LocalProtocolError

APPLICATIONS: Final = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
"""The purpose that the encoder optimises for: OPUS_APPLICATION_VOIP, _AUDIO, _RESTRICTED_LOWDELAY."""

SET_BITRATE: Final = 4002
SET_MAX_BANDWIDTH: Final = 4004
SET_COMPLEXITY: Final = 4010
SET_INBAND_FEC: Final = 4012
SET_PACKET_LOSS_PERC: Final = 4014
GET_LOOKAHEAD: Final = 4027

BANDWIDTHS: Final = {4_000: 1101, 6_000: 1102, 8_000: 1103, 12_000: 1104, 20_000: 1105}
"""The highest frequencies that a packet may carry: OPUS_BANDWIDTH_NARROWBAND to _FULLBAND."""

MAX_PACKET_BYTES: Final = 4000
"""The buffer size that opus.h recommends for one packet; three 20 ms frames of the highest rate fit."""
MAX_PACKET_MS: Final = 120
"""The longest packet that RFC 6716 allows."""


MISSING: Final = (
    "The Opus codec (libopus) is missing: reinstall opuslib-next-bundled, or install libopus with the system's package manager."
)


def load() -> tuple[Any, str]:
    """Load the library; returns it and its origin. Raises DiscordplexError, with a sentence, if none can be loaded."""
    try:
        from opuslib_next.api import libopus  # noqa: PLC0415 - it loads the library, which may be absent
    except Exception:  # noqa: BLE001 - not installed, without a library, or with one for another machine: each has its own exception
        return _load_system_library()
    return libopus, "the copy in opuslib-next-bundled"


def _load_system_library() -> tuple[Any, str]:
    name = ctypes.util.find_library("opus")
    try:
        if name is not None:
            return ctypes.CDLL(name), f"the system's {name}"
    except OSError as fault:
        raise DiscordplexError(MISSING) from fault
    raise DiscordplexError(MISSING)


_library, origin = load()
"""`origin` is the origin of the library, as a part of a sentence."""


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = _library[name]
    function.restype = result
    function.argtypes = arguments
    return function


_pcm = POINTER(c_int16)
strerror = _function("opus_strerror", c_char_p, c_int)
version = _function("opus_get_version_string", c_char_p)
packet_get_nb_samples = _function("opus_packet_get_nb_samples", c_int, c_char_p, c_int32, c_int32)
encoder_get_size = _function("opus_encoder_get_size", c_int, c_int)
encoder_init = _function("opus_encoder_init", c_int, c_void_p, c_int32, c_int, c_int)
encode = _function("opus_encode", c_int32, c_void_p, c_char_p, c_int, c_void_p, c_int32)
# Variadic: on Apple's arm64, ctypes needs only the fixed arguments declared.
encoder_ctl = _function("opus_encoder_ctl", c_int, c_void_p, c_int)
decoder_get_size = _function("opus_decoder_get_size", c_int, c_int)
decoder_init = _function("opus_decoder_init", c_int, c_void_p, c_int32, c_int)
decode = _function("opus_decode", c_int, c_void_p, c_char_p, c_int32, _pcm, c_int, c_int)


def explain(code: int) -> str:
    """The message of libopus for a negative result."""
    return str(strerror(code), "ascii")


def check(code: int, doing: str) -> int:
    """Return `code` if it is a result; raise LocalProtocolError if libopus refused the call."""
    if code < 0:
        raise LocalProtocolError(f"libopus refused to {doing}: {explain(code)}")
    return code


def state(size_bytes: int) -> ctypes.Array[ctypes.c_char]:
    """Memory for the state of a codec, freed with the object that holds it."""
    return ctypes.create_string_buffer(size_bytes)
