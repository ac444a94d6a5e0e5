"""How a conversation can end, each way as one plain sentence: what happened and what to do.

No IO: `connection.py` picks by phase and close code, `dialing.py` by the exception that met us at the door. The measured behaviour of
NVIDIA's server that a sentence rests on stands beside it.
"""

from dataclasses import dataclass

from discordplex.engine import OVER_BUDGET

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
    """We hung up."""
    return Ending("The call with PersonaPlex was ended.", retry=False, cause="left")


def unreachable(name: str) -> Ending:
    """Nobody listens there, or the way there is broken."""
    return Ending(f"No PersonaPlex server answers at {name}: start it or set personaplex.urls.", retry=True, cause="unreachable")


def unknown_host(name: str, host: str) -> Ending:
    """The name does not resolve. It may later: containers start in any order."""
    reason = f"No PersonaPlex server answers at {name}, for no machine is known as {host}: correct personaplex.urls, or check the network."
    return Ending(reason, retry=True, cause="unknown host")


def upgrade_late(name: str, waited_s: float) -> Ending:
    """TCP or HTTP hangs."""
    reason = f"The server at {name} did not answer within {waited_s:.0f} s: check that it runs and that no firewall is in the way."
    return Ending(reason, retry=True, cause="no answer")


def untrusted(name: str, detail: str) -> Ending:
    """Its certificate does not convince us."""
    reason = (
        f"The TLS certificate of {name} is not trusted ({detail}): if the server is your own, set personaplex.verify_tls to false, "
        "or point SSL_CERT_FILE at its certificate."
    )
    return Ending(reason, retry=False, cause="certificate")


def no_tls(name: str) -> Ending:
    """TLS was offered to a port that does not speak it."""
    return Ending(
        f"The server at {name} does not speak TLS: write ws:// instead of wss:// in personaplex.urls.", retry=False, cause="no TLS"
    )


def tls_failed(name: str, detail: str) -> Ending:
    """TLS broke in some other way."""
    return Ending(f"No TLS connection to {name} came about ({detail}): check the server's TLS settings.", retry=True, cause="TLS")


def hung_up(name: str, *, secure: bool) -> Ending:
    """The connection was closed instead of answered: so does a TLS port that is spoken to in plain, or a tunnel without a far end."""
    advice = "check that PersonaPlex runs behind it" if secure else "if the server runs with --ssl, write wss:// in personaplex.urls"
    return Ending(f"The server at {name} hung up without an answer: {advice}.", retry=True, cause="hung up")


def refused(name: str, status: int) -> Ending:
    """HTTP said something else than 101."""
    cause = f"HTTP {status}"
    if status == BAD_REQUEST:
        # aiohttp's request line limit of 8190 bytes; nothing else in our request could earn a 400.
        return Ending(
            f"PersonaPlex at {name} refused the request ({cause}): the text prompt is too long, shorten it.", retry=False, cause=cause
        )
    if status in UNAUTHORISED:
        return Ending(
            f"The server at {name} does not let us in ({cause}): check user and password in personaplex.urls.", retry=False, cause=cause
        )
    if status >= SERVER_ERROR:
        return Ending(f"The server at {name} is in trouble ({cause}): check that PersonaPlex runs behind it.", retry=True, cause=cause)
    if status == NOT_FOUND:
        advice = "PersonaPlex listens at /api/chat, correct personaplex.urls"
        return Ending(f"The server at {name} has nothing there ({cause}): {advice}.", retry=False, cause=cause)
    return Ending(
        f"The server at {name} is no PersonaPlex server, for it answered {cause}: correct personaplex.urls.", retry=False, cause=cause
    )


def redirected(name: str, status: int, address: str) -> Ending:
    """HTTP sends us elsewhere. We do not follow: voice, role and password were meant for this server."""
    advice = f"use {address} in personaplex.urls, if that server is yours" if address else "correct personaplex.urls"
    cause = f"redirect {status}"
    return Ending(f"The server at {name} sends us to another address (HTTP {status}): {advice}.", retry=False, cause=cause)


def no_descriptors(name: str) -> Ending:
    """The process may open no more sockets."""
    reason = (
        f"I could not connect to {name}, because my process has too many files and connections open: "
        "raise its limit of open files (ulimit -n), or restart me."
    )
    return Ending(reason, retry=True, cause="out of descriptors")


def not_websocket(name: str) -> Ending:
    """Something answers there, but not with a WebSocket."""
    return Ending(f"What answers at {name} is no PersonaPlex server: correct personaplex.urls.", retry=False, cause="no WebSocket")


def handshake_late(name: str, waited_s: float) -> Ending:
    """Connected, and no word since. A busy server takes the connection and then says nothing at all until it is free."""
    reason = (
        f"PersonaPlex at {name} took the call but was not ready within {waited_s:.0f} s: it is busy with another call, or very slow. "
        "Further tries wait up to four times as long as personaplex.handshake_timeout_s says."
    )
    return Ending(reason, retry=True, cause=NOT_READY)


def stalled(name: str, waited_s: float) -> Ending:
    """We send, nothing comes: a server that was told to stop, a stuck lock and a dead network all look like this."""
    reason = f"PersonaPlex at {name} has sent nothing for {waited_s:.0f} s, not even silence: it hangs or was stopped, restart it."
    return Ending(reason, retry=True, cause="stalled")


def trickling(name: str, share: float, over_s: int) -> Ending:
    """It is never silent for long, and yet nobody can talk with it."""
    reason = (
        f"PersonaPlex at {name} has sent less than {share:.0%} of the sound that a call needs, for {over_s} s: it hangs or its GPU is "
        "overloaded, restart it or give it a faster GPU."
    )
    return Ending(reason, retry=True, cause="trickle")


def oversized(name: str) -> Ending:
    """It sent us a message beyond any reason."""
    return Ending(
        f"What answers at {name} sends messages that no PersonaPlex server would: correct personaplex.urls.", retry=False, cause="oversized"
    )


def over_budget(name: str, what: str) -> Ending:
    """It sends more than a call can take: more would delay other calls or fill the memory."""
    reason = f"What answers at {name} sends far more {what} than a PersonaPlex server does: check personaplex.urls, or restart the server."
    return Ending(reason, retry=True, cause=f"{OVER_BUDGET}: {what}")


def lost_before_ready(name: str, code: int, after_s: float) -> Ending:
    """The connection ended between upgrade and handshake."""
    if code == ABNORMAL_CLOSURE and after_s <= BAD_QUERY_S:
        reason = (
            f"PersonaPlex at {name} dropped the call at once, as it does when it lacks the voice or cannot use the text prompt: "
            "choose another voice, or check that the server has its voice files."
        )
        return Ending(reason, retry=False, cause="bad query")
    if code == ABNORMAL_CLOSURE:
        return Ending(f"PersonaPlex at {name} died while it loaded voice and prompt: its log tells why.", retry=True, cause="died loading")
    return closed(name, code, "before it was ready")


def lost_live(name: str, code: int) -> Ending:
    """The connection ended in the middle of a call."""
    if code == ABNORMAL_CLOSURE:
        reason = f"The connection to PersonaPlex at {name} broke off: the server died or the network failed; check that it runs."
        return Ending(reason, retry=True, cause="broken off")
    return closed(name, code, "in the middle of the call")


def closed(name: str, code: int, when: str) -> Ending:
    """The server said goodbye with a code, unasked."""
    cause = f"close {code}"
    if code in (NORMAL_CLOSURE, NO_STATUS):
        # Not a goodbye: any exception in the server's audio loop looks like this.
        reason = f"PersonaPlex at {name} hung up {when}: its audio loop has crashed, and its log tells why."
        return Ending(reason, retry=True, cause=cause)
    if code == GOING_AWAY:
        return Ending(f"PersonaPlex at {name} is shutting down: start it again.", retry=True, cause=cause)
    if code == TOO_BIG:
        reason = f"PersonaPlex at {name} refused a message as too big (close code 1009): a proxy in between may need a higher limit."
        return Ending(reason, retry=False, cause=cause)
    if code in REFUSALS:
        reason = f"The server at {name} rejected the call (close code {code}): check that it is a PersonaPlex server."
        return Ending(reason, retry=False, cause=cause)
    return Ending(f"PersonaPlex at {name} closed the call {when} (close code {code}): its log tells why.", retry=True, cause=cause)
