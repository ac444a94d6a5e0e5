"""What the receiver keeps for one SSRC. Thread: loop."""

from collections import deque

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import OpusDecoder
from discordplex.voice.rtp.packet import RtpPacket
from discordplex.voice.rtp.reorder import Reorder

MAX_HELD = 50
"""Packets of an unknown speaker that wait for a name: one second."""

MAX_CONCEALED = 5
"""Lost frames in a row that are filled in. After 100 ms libopus has faded to silence, and a longer fill would arrive as pure delay."""

PACKET_MS = DISCORD.frame_ms / 8
"""What each authentic packet costs of a stream's budget at least: the length of the shortest Opus packet."""

SOUND_MS_PER_S = 1250.0
"""How much sound one stream may become in a second, filled-in frames included: real time, and room for a sender whose clock is fast."""

SOUND_BURST_MS = 2000.0
"""What a stream may become at once: packets that come together after a stall."""


class SpeakerStream:
    """The order and the decoder of one stream, and its person once that is known."""

    __slots__ = (
        "arrived",
        "concealed",
        "credit_ms",
        "credited_at",
        "decoder",
        "ended",
        "frame_samples",
        "heard_at",
        "proven",
        "read",
        "reorder",
        "silences",
        "user_id",
    )

    def __init__(self) -> None:
        self.user_id: int | None = None
        self.proven = False
        """A packet of it has opened with this person's key, and nobody has claimed it since."""
        self.reorder = Reorder()
        self.decoder = OpusDecoder(DISCORD.rate_hz, DISCORD.channels)
        self.concealed = MAX_CONCEALED
        self.frame_samples = DISCORD.frame_samples
        self.heard_at = 0.0
        self.credit_ms = SOUND_BURST_MS
        self.credited_at = float("-inf")
        self.arrived = 0
        """Authentic packets of speech, whatever became of them."""
        self.read = 0
        """Those that became sound."""
        self.silences = 0
        """Packets of the silence at the end of speech."""
        self.ended = False
        """The newest packet was one of these."""

    def admits(self, now: float) -> bool:
        """Whether one more packet is within the stream's budget. It costs something once it has authenticated: junk takes nothing."""
        self.credit_ms = min(SOUND_BURST_MS, self.credit_ms + (now - self.credited_at) * SOUND_MS_PER_S)
        self.credited_at = now
        return self.credit_ms > 0


class UnnamedPackets:
    """Packets of a stream that has no name yet, as they came."""

    __slots__ = ("arrived", "packets")

    def __init__(self) -> None:
        self.arrived = 0
        """Those of them that have authenticated."""
        self.packets: deque[RtpPacket] = deque(maxlen=MAX_HELD)


UNHEARD = SpeakerStream()
"""Of somebody of whom nothing has come yet."""
