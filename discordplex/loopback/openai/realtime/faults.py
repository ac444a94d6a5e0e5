"""Faults of a realtime session, each as a real service or a hostile one behaves; and messages that are no events. Pure."""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class RealtimeFault:
    """What goes wrong with one session. Milliseconds count the sound that was sent to the client."""

    hang: bool = False
    """The request for the upgrade is never answered."""
    status: int | None = None
    """The request is answered with this instead of an upgrade, in the API's own shape."""
    retry_after_s: float | None = None
    """Sent as a header with `status`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with `status`, such as a Location."""
    html: bool = False
    """The answer with `status` is a proxy's page."""
    code: str = ""
    """The error's code with `status`; without it: an error event in place of a session, and then `close`."""
    close: int | None = None
    """The close code after the error event of `code`; None leaves the connection open."""
    silent: bool = False
    """The upgrade succeeds, and nothing is ever sent: no `session.created`."""
    beta: bool = False
    """The server speaks the beta only: its session has the old shape, and today's settings are unknown to it."""
    session_s: float | None = None
    """The session expires after this time, instead of the service's own."""
    go_away_s: float | None = None
    """After this time the server announces, in an event that OpenAI does not have, that it will close soon."""
    reply_code: str = ""
    """Every reply fails with this code, in `response.done`."""
    transcription_fails: bool = False
    """What people say cannot be transcribed."""
    stall_after_ms: float | None = None
    """Nothing is sent any more, with the connection open."""
    reset_after_ms: float | None = None
    """TCP reset: the client sees 1006."""
    close_after_ms: float | None = None
    """A close frame, with `close` or 1011."""
    error_after_ms: float | None = None
    """An error event in the middle of a reply, after which everything goes on."""
    messages: tuple[str | bytes, ...] = ()
    """Sent exactly as they are after the first event, bytes as binary frames."""
    messages_after_ms: float | None = None
    """Sends `messages` later."""
    odd: bool = False
    """Unknown events between the real ones, and unknown fields in each."""
    split_samples: bool = False
    """Pieces of sound end in the middle of a sample."""


WRONG_KEY: Final = RealtimeFault(code="invalid_api_key", close=3000)
"""OpenAI's second way to refuse a key; the first is `status=401`."""
WRONG_MODEL: Final = RealtimeFault(code="invalid_model", close=4000)
BETA_DISABLED: Final = RealtimeFault(code="beta_api_shape_disabled", close=4000)
NO_QUOTA: Final = RealtimeFault(code="insufficient_quota", close=4000)
"""The close code is assumed."""
NO_QUOTA_IN_REPLY: Final = RealtimeFault(reply_code="insufficient_quota")
BUSY: Final = RealtimeFault(status=429, retry_after_s=7)

MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    "invalid_api_key": ("invalid_request_error", "Incorrect API key provided."),
    "invalid_model": ("invalid_request_error", "The model does not exist or you do not have access to it."),
    "beta_api_shape_disabled": (
        "invalid_request_error",
        "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API.",
    ),
    "insufficient_quota": ("insufficient_quota", "You exceeded your current quota, please check your plan and billing details."),
    "model_not_found": ("invalid_request_error", "The model does not exist or you do not have access to it."),
    "rate_limit_exceeded": ("rate_limit_error", "Rate limit reached."),
    "session_expired": ("invalid_request_error", "Your session hit the maximum duration of {minutes:g} minutes."),
}
"""For each code: the error's type and message."""


def error_type(code: str) -> str:
    """The type of an error with this code."""
    return MESSAGES.get(code, ("server_error", ""))[0]


def error_message(code: str) -> str:
    """The message of an error with this code."""
    return MESSAGES.get(code, ("", "The server had an error while processing your request. Sorry about that!"))[1]


DEEP: Final = 100_000
HUGE_BYTES: Final = 4 << 20


def garbage() -> tuple[str | bytes, ...]:
    """Messages that are no events, or wrong ones: not JSON, binary, huge, deeply nested, without their fields, with wrong types in them."""
    wrong: tuple[Any, ...] = (None, 5, "x", [], {}, [None], {"type": 5}, True)
    known = ("session.created", "response.created", "response.done", "conversation.item.added", "error", "rate_limits.updated")
    parts = ("session", "response", "item", "error", "rate_limits")
    broken: list[dict[str, Any]] = [{"type": kind, **dict.fromkeys(parts, value)} for kind in known for value in wrong]
    delta = "response.output_audio.delta"
    broken += [{"type": delta, "delta": value, "item_id": value, "response_id": value, "content_index": value} for value in wrong]
    return (
        "",
        "no json",
        "{",
        "[]",
        "null",
        "NaN",
        '{"type": NaN}',
        '{"type": "\\ud800"}',
        f'{{"type": "x", "number": {"9" * 5000}}}',
        bytes(range(256)),
        b"",
        "[" * DEEP,
        '{"a":' * DEEP,
        json.dumps({"type": "x" * HUGE_BYTES}),
        json.dumps({"type": "response.output_audio_transcript.delta", "delta": "x" * HUGE_BYTES}),
        json.dumps({"type": "error", "error": {"type": "x" * 1000, "code": "x" * 10_000, "message": "x" * 100_000}}),
        *(json.dumps(event) for event in broken),
        *(json.dumps({"type": value}) for value in wrong),
    )


def flood(count: int) -> tuple[str, ...]:
    """Unknown events without end."""
    return tuple(json.dumps({"type": "weather.changed", "event_id": f"event_flood_{number}"}) for number in range(count))


def reply_of(deltas: Iterable[str], *, number: int = 1) -> tuple[str, ...]:
    """A well-formed reply whose pieces of sound are these, whatever they are: hours of silence, or no base64 at all."""
    response_id, item_id = f"resp_flood_{number}", f"item_flood_{number}"
    item = {"id": item_id, "object": "realtime.item", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    where = {"response_id": response_id, "output_index": 0}
    place = {**where, "item_id": item_id, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {"id": response_id, "object": "realtime.response", "status": "in_progress"}},
        {"type": "response.output_item.added", **where, "item": item},
        {"type": "conversation.item.added", "previous_item_id": None, "item": item},
        {"type": "response.content_part.added", **place, "part": {"type": "audio", "transcript": ""}},
        *({"type": "response.output_audio.delta", **place, "delta": delta} for delta in deltas),
        {"type": "response.output_audio.done", **place},
        {"type": "response.done", "response": {"id": response_id, "object": "realtime.response", "status": "completed"}},
    ]
    return tuple(json.dumps({"event_id": f"event_flood_{count}", **event}) for count, event in enumerate(events))


def hours_of_sound(hours: float, piece_s: float = 60.0) -> tuple[str, ...]:
    """A reply of silence that takes this long to play."""
    delta = base64.b64encode(bytes(int(48_000 * piece_s))).decode()
    return reply_of(delta for _ in range(int(hours * 3600 / piece_s)))


def junk_sound() -> tuple[str, ...]:
    """A reply whose sound is no sound: no base64, odd bytes, nothing, a character that is not ASCII."""
    return reply_of(["%%%%", "A", "AAAA", "", "AA==", "ä" * 100, "A" * 4_000_001])
