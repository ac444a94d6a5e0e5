"""PeerBudget: limits of what one server may make us read, decode and keep. Pure: the time is a parameter.

A PersonaPlex server sends 25 messages, 3 kB, one second of sound and some 20 characters each second; after a stall of either side the
backlog comes at once. Each limit is several times that, and far below what would delay another call.
"""

from discordplex.token_bucket import TokenBucket

SOUND_BURST_MS = 30_000
"""Most sound at once: ten times what a server can have in arrears before the watchdog gives it up."""

MOST_SOUND_AT_ONCE_MS = 10_000
"""Most sound in one message. It is decoded in one step on the event loop of all calls; 10 s take some 15 ms."""


class PeerBudget:
    """The limits of one conversation.

    Each method returns whether that much more is allowed; where not, the conversation has to be ended.
    """

    def __init__(self) -> None:
        self._frames = TokenBucket(per_second=200, burst=1000)
        self._bytes = TokenBucket(per_second=128 << 10, burst=1 << 20)
        self._sound = TokenBucket(per_second=2000, burst=SOUND_BURST_MS)
        self._characters = TokenBucket(per_second=200, burst=4000)
        self._faults = TokenBucket(per_second=2, burst=20)

    def frame(self, now: float) -> bool:
        """One more WebSocket frame of any kind, pings and empty ones included."""
        return self._frames.take(1, now)

    def received(self, size: int, now: float) -> bool:
        """`size` more bytes from the socket."""
        return self._bytes.take(size, now)

    def sound(self, milliseconds: float, now: float) -> bool:
        """More sound to decode, in milliseconds."""
        return milliseconds <= MOST_SOUND_AT_ONCE_MS and self._sound.take(milliseconds, now)

    def text(self, characters: int, now: float) -> bool:
        """More characters of text; a message counts as one more."""
        return self._characters.take(characters + 1, now)

    def fault(self, now: float) -> bool:
        """One more message that is damaged or invalid."""
        return self._faults.take(1, now)
