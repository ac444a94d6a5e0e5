"""How a conversation can end, each way as one plain sentence: what happened and what to do.

No IO: `connection.py` picks by phase and close code, `dialing.py` by the exception that met us at the door. The measured behaviour of
NVIDIA's server that a sentence rests on stands beside it.
"""

from dataclasses import dataclass

from discordplex.descriptors import NO_DESCRIPTORS
from discordplex.engine import OVER_BUDGET, STALLED

NORMAL_CLOSURE = 1000
GOING_AWAY = 1001
NO_STATUS = 1005
ABNORMAL_CLOSURE = 1006
TOO_BIG = 1009
REFUSALS = frozenset({1002, 1003, 1007, 1008})
"""Close codes that say we did wrong: RFC 6455, section 7.4.1. The same call would meet them again."""

BAD_QUERY_S = 1.0
"""A bad query makes the server drop the connection within milliseconds of its upgrade, an empty prompt within a voice's length of steps
(0.2 s measured on a tiny model). A connection that dies later died of something else."""

NOT_READY = "not ready"
"""The cause where no handshake came in time."""

BAD_REQUEST = 400
UNAUTHORISED = frozenset({401, 403, 407})
NOT_FOUND = 404
SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a conversation is over."""

    reason: str
    """One plain sentence."""
    retry: bool
    """Whether the same conversation can succeed on another try."""
    cause: str
    """The same in a word or two, for logs and metrics."""


def left() -> Ending:
    """The bot ended the call."""
    return Ending("The call with PersonaPlex was ended.", retry=False, cause="left")


def unreachable(name: str) -> Ending:
    """Nothing listens there, or the network does not reach it."""
    return Ending(f"No PersonaPlex server answers at {name}: start it or set personaplex.urls.", retry=True, cause="unreachable")


def unknown_host(name: str, host: str) -> Ending:
    """The name does not resolve. It may later: containers start in any order."""
    reason = (
        f"No PersonaPlex server answers at {name}, because the host name {host} is unknown: correct personaplex.urls, or check the network."
    )
    return Ending(reason, retry=True, cause="unknown host")


def upgrade_late(name: str, waited_s: float) -> Ending:
    """TCP or HTTP hangs."""
    reason = f"The server at {name} did not answer within {waited_s:.0f} s: check that it runs and that no firewall is in the way."
    return Ending(reason, retry=True, cause="no answer")


def untrusted(name: str, detail: str) -> Ending:
    """Its certificate is not trusted."""
    reason = (
        f"The TLS certificate of {name} is not trusted ({detail}): if the server is your own, set personaplex.verify_tls to false, "
        "or point SSL_CERT_FILE at its certificate."
    )
    return Ending(reason, retry=False, cause="certificate")


def no_tls(name: str) -> Ending:
    """The port does not speak TLS."""
    return Ending(
        f"The server at {name} does not speak TLS: write ws:// instead of wss:// in personaplex.urls.", retry=False, cause="no TLS"
    )


def tls_failed(name: str, detail: str) -> Ending:
    """TLS broke in some other way."""
    return Ending(f"The TLS connection to {name} failed ({detail}): check the server's TLS settings.", retry=True, cause="TLS")


def hung_up(name: str, *, secure: bool) -> Ending:
    """The connection was closed without an answer: by a TLS port that got plain text, or a tunnel whose other end is down."""
    advice = "check that PersonaPlex runs behind it" if secure else "if the server runs with --ssl, write wss:// in personaplex.urls"
    return Ending(f"The server at {name} closed the connection without an answer: {advice}.", retry=True, cause="hung up")


def refused(name: str, status: int) -> Ending:
    """The HTTP status was not 101."""
    cause = f"HTTP {status}"
    if status == BAD_REQUEST:
        # aiohttp's request line limit of 8190 bytes; nothing else in our request could earn a 400.
        return Ending(
            f"PersonaPlex at {name} refused the request ({cause}): the text prompt is too long, shorten it.", retry=False, cause=cause
        )
    if status in UNAUTHORISED:
        return Ending(
            f"The server at {name} refuses access ({cause}): check user and password in personaplex.urls.", retry=False, cause=cause
        )
    if status >= SERVER_ERROR:
        return Ending(f"The server at {name} reports an error ({cause}): check that PersonaPlex runs behind it.", retry=True, cause=cause)
    if status == NOT_FOUND:
        advice = "PersonaPlex listens at /api/chat, correct personaplex.urls"
        return Ending(f"The server at {name} does not know this path ({cause}): {advice}.", retry=False, cause=cause)
    return Ending(
        f"The server at {name} is not a PersonaPlex server (it answered {cause}): correct personaplex.urls.", retry=False, cause=cause
    )


def redirected(name: str, status: int, address: str) -> Ending:
    """An HTTP redirect. The bot does not follow it: voice, role and password are for this server only."""
    advice = f"use {address} in personaplex.urls, if that server is yours" if address else "correct personaplex.urls"
    cause = f"redirect {status}"
    return Ending(f"The server at {name} redirects to another address (HTTP {status}): {advice}.", retry=False, cause=cause)


def no_descriptors(name: str) -> Ending:
    """The process may open no more sockets."""
    reason = f"I could not connect to {name}, because {NO_DESCRIPTORS}."
    return Ending(reason, retry=True, cause="out of descriptors")


def not_websocket(name: str) -> Ending:
    """Something answers there, but not with a WebSocket."""
    return Ending(f"The server at {name} is not a PersonaPlex server: correct personaplex.urls.", retry=False, cause="no WebSocket")


def handshake_late(name: str, waited_s: float) -> Ending:
    """Connected, but no handshake. A busy server accepts the connection and sends nothing until it is free."""
    reason = (
        f"PersonaPlex at {name} took the call but was not ready within {waited_s:.0f} s: it is busy with another call, or very slow. "
        "The next tries wait longer, up to four times personaplex.handshake_timeout_s."
    )
    return Ending(reason, retry=True, cause=NOT_READY)


def stalled(name: str, waited_s: float) -> Ending:
    """Nothing comes while we send. A stopped server, a stuck lock and a broken network all look like this."""
    reason = f"PersonaPlex at {name} has sent no sound for {waited_s:.0f} s, not even silence: it hangs or was stopped. Restart it."
    return Ending(reason, retry=True, cause=STALLED)


def trickling(name: str, share: float, over_s: int) -> Ending:
    """It sends too little sound for a conversation, though it is never silent for long."""
    reason = (
        f"PersonaPlex at {name} has sent less than {share:.0%} of the sound that a call needs, for {over_s} s: it hangs or its GPU is "
        "overloaded. Restart it, or give it a faster GPU."
    )
    return Ending(reason, retry=True, cause="trickle")


def oversized(name: str) -> Ending:
    """It sent a message above the size limit."""
    return Ending(
        f"The server at {name} sends messages that are too large for a PersonaPlex server: correct personaplex.urls.",
        retry=False,
        cause="oversized",
    )


def over_budget(name: str, what: str) -> Ending:
    """It sends more than a call can take: more would delay other calls or fill the memory."""
    reason = f"The server at {name} sends far more {what} than a PersonaPlex server does: check personaplex.urls, or restart the server."
    return Ending(reason, retry=True, cause=f"{OVER_BUDGET}: {what}")


def lost_before_ready(name: str, code: int, after_s: float) -> Ending:
    """The connection ended between upgrade and handshake."""
    if code == ABNORMAL_CLOSURE and after_s <= BAD_QUERY_S:
        reason = (
            f"PersonaPlex at {name} closed the connection at once, as it does without the voice or with an unusable text prompt: "
            "choose another voice, or check that the server has its voice files."
        )
        return Ending(reason, retry=False, cause="bad query")
    if code == ABNORMAL_CLOSURE:
        return Ending(
            f"PersonaPlex at {name} crashed while it loaded the voice and the prompt: see its log.", retry=True, cause="died loading"
        )
    return closed(name, code, "before it was ready")


def lost_live(name: str, code: int) -> Ending:
    """The connection ended in the middle of a call."""
    if code == ABNORMAL_CLOSURE:
        reason = f"The connection to PersonaPlex at {name} was lost: the server crashed or the network failed. Check that it runs."
        return Ending(reason, retry=True, cause="broken off")
    return closed(name, code, "in the middle of the call")


def closed(name: str, code: int, when: str) -> Ending:
    """The server closed the connection with a close code."""
    cause = f"close {code}"
    if code in (NORMAL_CLOSURE, NO_STATUS):
        # Not a normal end: any exception in the server's audio loop looks like this.
        reason = f"PersonaPlex at {name} closed the connection {when}, because its audio loop crashed: see its log."
        return Ending(reason, retry=True, cause=cause)
    if code == GOING_AWAY:
        return Ending(f"PersonaPlex at {name} is shutting down: start it again.", retry=True, cause=cause)
    if code == TOO_BIG:
        reason = f"PersonaPlex at {name} refused a message as too big (close code 1009): a proxy in between may need a higher limit."
        return Ending(reason, retry=False, cause=cause)
    if code in REFUSALS:
        reason = f"The server at {name} rejected the call (close code {code}): check that it is a PersonaPlex server."
        return Ending(reason, retry=False, cause=cause)
    return Ending(f"PersonaPlex at {name} closed the connection {when} (close code {code}): see its log.", retry=True, cause=cause)
