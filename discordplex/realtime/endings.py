"""How a session can end, each way as one plain sentence: what happened and what to do. Pure.

A server's own text is never quoted: it may hold a key or somebody's words. Its error codes are those of the SDK's types and of reports.
"""

from dataclasses import dataclass
from typing import Final

from discordplex.descriptors import NO_DESCRIPTORS
from discordplex.engine import BUSY, OVER_BUDGET

EXPIRED: Final = "session over"
"""The cause where a session has lasted as long as the service lets one."""
NO_VOICE: Final = "bad voice"
"""The cause where the server does not have the voice."""


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """Why a session is over."""

    reason: str
    """One plain sentence."""
    retry: bool
    """Whether the same session can be had on another try."""
    cause: str
    """The same in a word or two, for logs."""


BAD_KEY: Final = frozenset({"invalid_api_key", "incorrect_api_key", "authentication_error", "unauthorized", "missing_api_key"})
NO_MODEL: Final = frozenset({"invalid_model", "model_not_found", "model_not_supported", "deployment_not_found", "DeploymentNotFound"})
NO_MONEY: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "quota_exceeded"})
TOO_FAST: Final = frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "tokens_limit_reached"})
OVER: Final = frozenset({"session_expired", "session_timeout", "max_duration_reached", "goaway", "go_away"})
OUTGROWN: Final = "context_length_exceeded"
"""vLLM-Omni begins the message of an error with it, whose code only says that something failed."""
FULL: Final = frozenset({"resource_exhausted", "session_capacity_exhausted", "capacity_exhausted", "too_many_sessions"})
OLD: Final = frozenset({"beta_api_shape_disabled"})
BAD_VOICE: Final = frozenset({"invalid_voice", "voice_not_found", "unsupported_voice"})
HARMLESS: Final = frozenset(
    {
        "response_cancel_not_active",
        "conversation_already_has_active_response",
        "input_audio_buffer_commit_empty",
        "item_truncate_invalid_item_id",
        "item_delete_invalid_item_id",
        "item_not_found",
    }
)
"""What a server says about a message that crossed one of its own on the way."""
OTHERS: Final = frozenset(
    {
        "invalid_request_error",
        "invalid_event",
        "invalid_event_id",
        "invalid_value",
        "invalid_type",
        "missing_required_parameter",
        "unknown_parameter",
        "decimal_below_min_value",
        "integer_above_max_value",
        "string_above_max_length",
        "unsupported_value",
        "server_error",
        "internal",
        "internal_error",
        "content_filter",
        "input_backpressure",
        "persona_update_unsupported",
        "runtime_append_failed",
        "runtime_data_plane_stream_failed",
        "voice_update_unsupported",
    }
)
UNKNOWN_CODE: Final = "unknown code"
KNOWN_CODES: Final = BAD_KEY | NO_MODEL | NO_MONEY | TOO_FAST | OVER | FULL | OLD | BAD_VOICE | HARMLESS | OTHERS


def of_code(service: str, code: str) -> SessionEnding | None:
    """What an error code means where it ends a session; None for one that does not."""
    kinds = (
        (BAD_KEY, bad_key),
        (NO_MODEL, no_model),
        (NO_MONEY, no_money),
        (TOO_FAST, too_fast),
        (OVER, expired),
        (FULL, busy),
        (OLD, old_client),
        (BAD_VOICE, bad_voice),
    )
    return next((ending(service) for codes, ending in kinds if code in codes), None)


def left(service: str) -> SessionEnding:
    """The bot ended the session."""
    return SessionEnding(f"The session with {service} was ended.", retry=False, cause="left")


def bad_key(service: str) -> SessionEnding:
    """The key is wrong, or none was sent."""
    return SessionEnding(f"{service} refuses the API key: check realtime.api_key.", retry=False, cause="bad key")


def forbidden(service: str) -> SessionEnding:
    """The key may not do this."""
    reason = f"{service} does not let this API key open a session: check the key's rights, realtime.model and the country the bot runs in."
    return SessionEnding(reason, retry=False, cause="HTTP 403")


def not_found(service: str) -> SessionEnding:
    """Neither path nor model are known there."""
    reason = f"{service} knows no Realtime session at this address or for this model: check realtime.url and realtime.model."
    return SessionEnding(reason, retry=False, cause="HTTP 404")


def no_model(service: str) -> SessionEnding:
    """The model is not known, or not for this account."""
    return SessionEnding(f"{service} does not have this model for this key: check realtime.model.", retry=False, cause="no such model")


def no_money(service: str) -> SessionEnding:
    """The account's credit or quota is used up."""
    reason = f"The account's credit or quota at {service} is used up: add credit or raise its limit, then call me again."
    return SessionEnding(reason, retry=False, cause="no quota")


def too_fast(service: str) -> SessionEnding:
    """Too many requests or sessions for now."""
    return SessionEnding(
        f"{service} limits how much this account may use at a time. I try again a little later.", retry=True, cause="rate limit"
    )


def busy(service: str) -> SessionEnding:
    """Every session of the server is taken."""
    return SessionEnding(f"{service} has no session to spare right now.", retry=True, cause=BUSY)


def expired(service: str) -> SessionEnding:
    """The session has lasted as long as the service lets one."""
    return SessionEnding(f"{service} ended the session because it lasted as long as one may. I open another.", retry=True, cause=EXPIRED)


def outgrown(service: str) -> SessionEnding:
    """The model's context is full: a session of PersonaPlex has 3,000 frames, 240 s."""
    reason = f"The model of {service} has heard as much as it can remember, which ended the session. I open another."
    return SessionEnding(reason, retry=True, cause=EXPIRED)


def old_client(service: str) -> SessionEnding:
    """The server says that only the old beta was spoken to it."""
    reason = f"{service} refuses the session as one of the old beta: a proxy in between may rewrite it. Check realtime.url."
    return SessionEnding(reason, retry=False, cause="beta refused")


def old_server(service: str) -> SessionEnding:
    """The server only speaks the old beta."""
    reason = f"{service} speaks only the old beta of the Realtime protocol: update that server, or choose another in realtime.url."
    return SessionEnding(reason, retry=False, cause="beta server")


def bad_voice(service: str) -> SessionEnding:
    """The server does not have the voice."""
    return SessionEnding(
        f"{service} does not have this voice: choose another with /voice, or change realtime.voice.", retry=False, cause=NO_VOICE
    )


def rejected(service: str) -> SessionEnding:
    """It refuses the session's settings, down to those that every server takes."""
    reason = f"{service} refuses the settings of the session: check realtime.model, realtime.voice and realtime.dialect."
    return SessionEnding(reason, retry=False, cause="settings refused")


def unreachable(service: str) -> SessionEnding:
    """Nothing listens there, or the network does not reach it."""
    return SessionEnding(f"{service} cannot be reached: check realtime.url and the network.", retry=True, cause="unreachable")


def unknown_host(service: str) -> SessionEnding:
    """The name does not resolve."""
    return SessionEnding(
        f"{service} cannot be reached, because its host name is unknown: check realtime.url.", retry=True, cause="unknown host"
    )


def untrusted(service: str) -> SessionEnding:
    """Its certificate is not trusted."""
    reason = f"The TLS certificate of {service} is not trusted: point SSL_CERT_FILE at its certificate, or correct realtime.url."
    return SessionEnding(reason, retry=False, cause="certificate")


def no_tls(service: str) -> SessionEnding:
    """TLS fails."""
    reason = f"The TLS connection to {service} failed: check realtime.url; for a server without TLS it begins with http:// or ws://."
    return SessionEnding(reason, retry=True, cause="TLS")


def no_descriptors(service: str) -> SessionEnding:
    """The process may open no more sockets."""
    reason = f"I could not connect to {service}, because {NO_DESCRIPTORS}."
    return SessionEnding(reason, retry=True, cause="out of descriptors")


def not_realtime(service: str) -> SessionEnding:
    """Something answers there, but not with a WebSocket."""
    return SessionEnding(f"{service} does not answer as a Realtime server: check realtime.url.", retry=False, cause="no WebSocket")


def redirected(service: str, status: int) -> SessionEnding:
    """An HTTP redirect, which is not followed: key and speech are for this server only."""
    reason = f"{service} redirects to another address (HTTP {status}), and I do not follow: check realtime.url."
    return SessionEnding(reason, retry=False, cause=f"redirect {status}")


def silent(service: str, waited_s: float) -> SessionEnding:
    """It took the connection and opened no session."""
    reason = f"{service} took the connection but opened no session within {waited_s:.0f} s: check the server, or try again later."
    return SessionEnding(reason, retry=True, cause="no session")


def stalled(service: str, waited_s: float) -> SessionEnding:
    """Nothing comes of a reply that is due."""
    return SessionEnding(f"{service} has sent nothing of its reply for {waited_s:.0f} s.", retry=True, cause="stalled")


def over_budget(service: str, what: str) -> SessionEnding:
    """It sends more than a call can take."""
    reason = f"{service} sends far more {what} than a call can take, so I closed the connection: check realtime.url."
    return SessionEnding(reason, retry=True, cause=f"{OVER_BUDGET}: {what}")


def refused(service: str, status: int) -> SessionEnding:
    """The HTTP status was not 101."""
    known = {401: bad_key, 403: forbidden, 404: not_found, 429: too_fast}
    if status in known:
        return known[status](service)
    if status in REDIRECTS:
        return redirected(service, status)
    if status in SERVER_ERRORS:
        return SessionEnding(f"{service} reports an error (HTTP {status}). I try again.", retry=True, cause=f"HTTP {status}")
    reason = f"{service} refused the session (HTTP {status}): check realtime.url, realtime.model and realtime.dialect."
    return SessionEnding(reason, retry=False, cause=f"HTTP {status}")


def failed(service: str, code: str) -> SessionEnding:
    """An error that ended the session, of a kind that is not known."""
    return SessionEnding(f"{service} ended the session with an error. I try again.", retry=True, cause=code or "no code")


def closed(service: str, code: int) -> SessionEnding:
    """The server closed the connection."""
    if code in CLOSE_CODES:
        return CLOSE_CODES[code](service)
    if code in REFUSALS:
        reason = f"{service} rejected the session (close code {code}): check realtime.url, realtime.model and realtime.dialect."
        return SessionEnding(reason, retry=False, cause=f"close {code}")
    return SessionEnding(f"{service} closed the connection (close code {code}).", retry=True, cause=f"close {code}")


def broken_off(service: str) -> SessionEnding:
    """The connection was lost."""
    return SessionEnding(f"The connection to {service} was lost.", retry=True, cause="broken off")


REDIRECTS: Final = range(300, 400)
SERVER_ERRORS: Final = range(500, 600)
ABNORMAL_CLOSURE: Final = 1006
REFUSALS: Final = frozenset({1002, 1003, 1007, 1008})
"""Close codes that say we did wrong: RFC 6455, section 7.4.1. The same session would meet them again."""
CLOSE_CODES: Final = {1001: expired, ABNORMAL_CLOSURE: broken_off, 3000: bad_key, 4000: no_model}
"""OpenAI's own codes, and what it closes a session with that has lasted for 60 minutes."""
