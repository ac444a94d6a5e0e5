"""Faults of the stand-in, each as a real server or a proxy was seen to behave; and the delays of a server without faults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Service = Literal["transcribe", "think", "speak"]


@dataclass(frozen=True, slots=True)
class Delays:
    """Delays of a server without faults, in milliseconds."""

    transcribe_ms: float = 0.0
    first_token_ms: float = 0.0
    token_ms: float = 0.0
    speech_ms: float = 0.0
    """Until the first byte of sound; the rest comes at once."""


REALISTIC = Delays(transcribe_ms=350, first_token_ms=400, token_ms=18, speech_ms=300)
"""OpenAI's delays on a good day."""


@dataclass(frozen=True, slots=True)
class RequestFault:
    """What happens to a request instead of an answer."""

    only: str = ""
    """Applies only to a request with this text in it; the order in which simultaneous requests arrive is random."""

    status: int | None = None
    """An error of the API with this status, in its own shape."""
    code: str = ""
    """The error's code, where the status alone does not tell."""
    retry_after_s: float | None = None
    """Sent as a header, as with a 429."""
    html: bool = False
    """A proxy answers with a web page and status 200; together with `status`, with that one."""
    stall_after: int | None = None
    """After this many tokens or blocks of sound: silence, with the connection open."""
    cut_after: int | None = None
    """After this many tokens or blocks of sound: the connection is cut."""
    empty: bool = False
    """A well-formed answer with nothing in it."""
    odd: bool = False
    """Comments, chunks without choices, null contents, CRLF: valid but unusual."""
    body: bytes | None = None
    """Exactly these bytes as the answer of any service, with `status` or 200."""
    content_type: str = ""
    """Sent with `body` instead of the service's usual one."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with `body`, such as a Location or a Content-Encoding."""
    endless: bytes = b""
    """After `body` these bytes again and again, as fast as the client reads."""
    drip_ms: float | None = None
    """`body` and `endless` byte by byte, with this time between two of them."""
