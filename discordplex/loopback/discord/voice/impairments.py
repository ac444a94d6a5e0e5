"""Impairments: what networks and other people's clients do to RTP. Pure and seeded, so that every run can be repeated exactly.

Padding, extension words, RTCP and foreign payload types are no faults but normal on Discord: public reports measure the padding bit on 3 to
15 % of the packets that real clients send. Loss, duplicates, reordering and jitter are the network; junk is the open UDP port.
"""

from collections import Counter
from dataclasses import dataclass, replace
from random import Random

OPUS_PAYLOAD_TYPE = 120
VIDEO_PAYLOAD_TYPES = (101, 102, 103, 104, 105, 106)
"""Video and its retransmissions, as Discord's clients number them; they share the socket with audio."""

EXTENSION_WORDS = 1
"""Discord's relay sets the X bit on nearly every packet that it forwards."""

OVERTAKEN_S = 0.03
"""Delay of a reordered packet: the next one, 20 ms behind it, overtakes it."""

MAX_PADDING_BYTES = 16


@dataclass(frozen=True, slots=True)
class MediaPacket:
    """One RTP packet without its transport encryption. The defaults are what Discord's relay sends."""

    ssrc: int
    sequence: int
    timestamp: int
    payload: bytes
    marker: bool = False
    payload_type: int = OPUS_PAYLOAD_TYPE
    extension_words: int | None = EXTENSION_WORDS
    """How many 32-bit words follow the extension's preamble; None: no extension at all, the X bit is clear."""
    csrcs: tuple[int, ...] = ()
    padding_bytes: int = 0
    """Bytes of padding, its count byte included; 0: the P bit is clear."""


@dataclass(frozen=True, slots=True)
class OtherDatagram:
    """A datagram that is no media of this session and is sent unchanged: RTCP and junk."""

    datagram: bytes


@dataclass(frozen=True, slots=True)
class ScheduledDatagram:
    """A datagram to send at `at`, on the clock whose `now` was given."""

    at: float
    cargo: MediaPacket | OtherDatagram


@dataclass(frozen=True, slots=True)
class Impairments:
    """Shares of packets between 0 and 1, each decided separately from `seed`."""

    loss: float = 0.0
    burst_packets: int = 1
    """Consecutive packets lost at a time."""
    lost: frozenset[int] = frozenset()
    """Packets of the stream to lose, counted from 0."""
    duplicate: float = 0.0
    reorder: float = 0.0
    padding: float = 0.0
    extensions: float = 0.0
    """Packets with no extension or with 0 to 3 extension words, instead of the usual one."""
    csrc: float = 0.0
    rtcp: float = 0.0
    """RTCP datagrams in addition to each packet; likewise the next three."""
    junk: float = 0.0
    other_payload: float = 0.0
    pure_padding: float = 0.0
    """Packets of padding only; each takes a sequence number, and those after it move up."""
    jitter_ms: float = 0.0
    """Each packet is late by 0 to this many milliseconds; order is kept."""
    delay_ms: float = 0.0
    seed: int = 0


class ImpairedPath:
    """The network path of one stream. `counts` counts what happened to its packets."""

    def __init__(self, impairments: Impairments, *, stream: int = 0) -> None:
        """`stream` distinguishes the streams of one receiver, so that their faults differ."""
        self.impairments = impairments
        self.counts: Counter[str] = Counter()
        self._dice = {kind: Random(f"{impairments.seed}:{stream}:{kind}") for kind in Impairments.__dataclass_fields__}
        self._bytes = Random(f"{impairments.seed}:{stream}")
        self._index = -1
        self._burst_left = 0
        self._shift = 0
        self._newest_at = 0.0

    def carry(self, media: MediaPacket, now: float) -> list[ScheduledDatagram]:
        """What is to be sent, and when, because `media` came in at `now`; nothing where it was lost."""
        self._index += 1
        self.counts["taken"] += 1
        shipments = self._companions(media, now)
        numbered = replace(media, sequence=(media.sequence + self._shift) & 0xFFFF)
        if self._is_lost():
            self.counts["lost"] += 1
            return shipments
        shaped = self._shape(numbered)
        at = self._departure(now)
        shipments.append(ScheduledDatagram(at, shaped))
        if self._hits("duplicate"):
            self.counts["duplicated"] += 1
            shipments.append(ScheduledDatagram(at, shaped))
        return shipments

    def _hits(self, kind: str) -> bool:
        share: float = getattr(self.impairments, kind)
        return self._dice[kind].random() < share

    def _is_lost(self) -> bool:
        if self._burst_left:
            self._burst_left -= 1
            return True
        if self._hits("loss"):
            self._burst_left = self.impairments.burst_packets - 1
            return True
        return self._index in self.impairments.lost

    def _departure(self, now: float) -> float:
        wait_ms = self.impairments.delay_ms + self._dice["jitter_ms"].uniform(0, self.impairments.jitter_ms)
        in_order = max(now + wait_ms / 1000, self._newest_at)
        if self._hits("reorder"):
            self.counts["reordered"] += 1
            return in_order + OVERTAKEN_S
        self._newest_at = in_order
        return in_order

    def _shape(self, media: MediaPacket) -> MediaPacket:
        if self._hits("padding"):
            self.counts["padded"] += 1
            media = replace(media, padding_bytes=self._bytes.randint(1, MAX_PADDING_BYTES))
        if self._hits("extensions"):
            self.counts["extended"] += 1
            media = replace(media, extension_words=self._bytes.choice((None, 0, 1, 2, 3)))
        if self._hits("csrc"):
            self.counts["csrc"] += 1
            media = replace(media, csrcs=tuple(self._bytes.getrandbits(32) for _ in range(self._bytes.randint(1, 3))))
        return media

    def _companions(self, media: MediaPacket, now: float) -> list[ScheduledDatagram]:
        companions: list[MediaPacket | OtherDatagram] = []
        if self._hits("rtcp"):
            self.counts["rtcp"] += 1
            companions.append(OtherDatagram(receiver_report(self._bytes)))
        if self._hits("junk"):
            self.counts["junk"] += 1
            companions.append(OtherDatagram(junk(self._bytes, media)))
        if self._hits("other_payload"):
            self.counts["other_payload"] += 1
            companions.append(video(self._bytes, media))
        if self._hits("pure_padding"):
            self.counts["pure_padding"] += 1
            companions.append(self._padding_before(media))
        at = max(now, self._newest_at)
        return [ScheduledDatagram(at, cargo) for cargo in companions]

    def _padding_before(self, media: MediaPacket) -> MediaPacket:
        """A packet of padding only, in the place of `media`, which moves up by one."""
        place = (media.sequence + self._shift) & 0xFFFF
        self._shift += 1
        return replace(media, sequence=place, payload=b"", marker=False, padding_bytes=self._bytes.randint(1, MAX_PADDING_BYTES))


def receiver_report(random: Random) -> bytes:
    """An RTCP receiver report as seen from outside: a clear header of 8 bytes, the rest encrypted."""
    return b"\x81\xc9\x00\x07" + random.randbytes(4 + 24 + 16 + 4)


def video(random: Random, beside: MediaPacket) -> MediaPacket:
    """A packet of a video stream on the SSRC next to `beside`."""
    kind = random.choice(VIDEO_PAYLOAD_TYPES)
    return replace(beside, ssrc=beside.ssrc + 1, payload_type=kind, payload=random.randbytes(random.randint(20, 200)))


def junk(random: Random, beside: MediaPacket) -> bytes:
    """A datagram that no parser may trust: empty, short, noise, or a valid header followed by noise."""
    header = bytes((0x90, OPUS_PAYLOAD_TYPE)) + random.randbytes(6) + beside.ssrc.to_bytes(4, "big")
    variants = (
        b"",
        random.randbytes(random.randint(1, 11)),
        random.randbytes(random.randint(12, 120)),
        header,
        header + random.randbytes(random.randint(1, 120)),
        b"\x9f" + header[1:] + random.randbytes(4),  # fifteen CSRCs announced, none there
    )
    return random.choice(variants)
