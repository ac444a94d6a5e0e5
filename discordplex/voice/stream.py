"""What the receiver keeps of one SSRC. Touched by the receive thread; its counts may be read by any."""

from collections import deque

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import OpusDecoder
from discordplex.voice.reorder import Reorder

MAX_HELD = 50
"""Packets of an unknown speaker that wait for a name: one second."""

MAX_CONCEALED = 5
"""Lost frames in a row that are filled in. After 100 ms libopus has faded to silence, and a longer fill would arrive as pure delay."""


class Stream:
    """Its order, its decoder, and whose it is once that is known."""

    __slots__ = ("arrived", "concealed", "decoder", "ended", "frame_samples", "heard_at", "held", "read", "reorder", "silences", "user_id")

    def __init__(self) -> None:
        self.user_id: int | None = None
        self.reorder = Reorder()
        self.decoder = OpusDecoder(DISCORD.rate_hz, DISCORD.channels)
        self.held: deque[tuple[int, bytes]] = deque(maxlen=MAX_HELD)
        self.concealed = MAX_CONCEALED
        self.frame_samples = DISCORD.frame_samples
        self.heard_at = 0.0
        self.arrived = 0
        """Packets of speech, whatever became of them."""
        self.read = 0
        """Those that became sound."""
        self.silences = 0
        """Packets of the silence at the end of speech."""
        self.ended = False
        """The newest packet was one of these."""


UNHEARD = Stream()
"""Of somebody of whom nothing has come yet."""
