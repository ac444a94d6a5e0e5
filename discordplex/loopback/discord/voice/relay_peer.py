"""Peer: what the relay knows of one participant: key, address, the path of each stream, and counters."""

import os
from collections import Counter
from dataclasses import dataclass, field

from discordplex.loopback.discord.voice.impairments import OPUS_PAYLOAD_TYPE, ImpairedPath, Impairments, MediaPacket
from discordplex.voice.rtp.encryption import Transport
from discordplex.voice.rtp.packet import WORD_BYTES, build_header, build_plaintext

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """One packet sent to a receiver: `payload` is what the receiver gets after the transport encryption, still encrypted by DAVE."""

    ssrc: int
    sequence: int
    timestamp: int
    payload: bytes
    at: float
    """When it was sent, in seconds of the media loop."""


@dataclass(slots=True)
class Peer:
    """A participant as the relay sees it. Thread: media, except for what `Relay` replaces as a whole."""

    user_id: str
    room: str
    ssrc: int
    uplink: ImpairedPath
    downlink_impairments: Impairments
    transport: Transport | None = None
    address: Address | None = None
    starved: bool = False
    """Whether nothing more is forwarded to them."""
    unplugged: bool = False
    """Whether nothing of theirs is accepted or answered either."""
    downlinks: dict[int, ImpairedPath] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def downlink(self, ssrc: int) -> ImpairedPath:
        """The network path of one sender's stream to this peer."""
        if ssrc not in self.downlinks:
            self.downlinks[ssrc] = ImpairedPath(self.downlink_impairments, stream=len(self.downlinks))
        return self.downlinks[ssrc]


def sealed(media: MediaPacket, transport: Transport) -> bytes:
    """The datagram of a packet, encrypted with this transport's key."""
    header = build_header(
        sequence=media.sequence,
        timestamp=media.timestamp,
        ssrc=media.ssrc,
        marker=media.marker,
        padded=media.padding_bytes > 0,
        csrc=media.csrcs,
        extension_words=media.extension_words,
    )
    if media.payload_type != OPUS_PAYLOAD_TYPE:
        header = header[:1] + bytes((media.payload_type,)) + header[2:]
    extension = os.urandom(WORD_BYTES * (media.extension_words or 0))
    return transport.seal(header, build_plaintext(media.payload, extension=extension, padding_bytes=media.padding_bytes))


def all_counts(peer: Peer) -> Counter[str]:
    """All that was counted for a peer."""
    return Counter(peer.counts) + paths_of(peer)


def paths_of(peer: Peer) -> Counter[str]:
    """What the impairments did to a peer's streams."""
    found: Counter[str] = Counter()
    for direction, paths in (("up", [peer.uplink]), ("down", list(peer.downlinks.values()))):
        for path in paths:
            found.update({f"{direction}.{kind}": count for kind, count in path.counts.items()})
    return found
