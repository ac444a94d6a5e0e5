"""Relay: UDP as in Discord's voice servers: IP discovery, keep-alive echo, and forwarding.

The relay terminates the transport encryption: a participant's packet is decrypted with their key, impaired (`impairments.py`), and
encrypted for each receiver with that receiver's key and mode. What DAVE encrypted is passed on unchanged.
"""

import asyncio
import heapq
import itertools
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable

from discordplex.errors import LocalProtocolError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.voice.impairments import (
    OPUS_PAYLOAD_TYPE,
    ImpairedPath,
    Impairments,
    MediaPacket,
    OtherDatagram,
    ScheduledDatagram,
)
from discordplex.loopback.discord.voice.media_thread import MediaThread
from discordplex.loopback.discord.voice.relay_peer import Address, Forwarded, Peer, all_counts, paths_of, sealed
from discordplex.voice.rtp.encryption import Transport
from discordplex.voice.rtp.packet import RtpError, RtpPacket, strip

DISCOVERY = struct.Struct("!HHI64sH")
"""IP discovery: type, length of what follows, SSRC, address, port; 74 bytes both ways."""

DISCOVERY_REQUEST, DISCOVERY_REPLY, DISCOVERY_LENGTH = 1, 2, 70

KEEPALIVE_BYTES = 8
"""A counter of the client, echoed unchanged."""

RECEIVE_BUFFER_BYTES = 1 << 20


class Relay(asyncio.DatagramProtocol):
    """The one UDP socket of the loopback's voice servers, on the media thread. Its public methods may be called from any thread."""

    def __init__(self, media: MediaThread, *, impairments: Impairments | None = None, record: bool = False) -> None:
        """`impairments` apply to every stream towards every user, until `impair` sets others; `record` keeps every forwarded packet."""
        self.refused: Counter[str] = Counter()
        """Datagrams that were not relayed, by reason."""
        self.forwarded: dict[str, list[Forwarded]] = {}
        """With `record`: what was sent to each user, in order."""
        self._media = media
        self._default = impairments or Impairments()
        self._record = record
        self._wire: asyncio.DatagramTransport | None = None
        self._lock = threading.Lock()
        self._by_ssrc: dict[int, Peer] = {}
        self._totals: dict[str, Counter[str]] = {}
        self._impaired: dict[str, tuple[Impairments, Impairments]] = {}
        self._due: list[tuple[float, int, ScheduledDatagram, Peer]] = []
        self._order = itertools.count()
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def address(self) -> Address:
        """Where clients send to. Raises LocalProtocolError before `open`."""
        if self._wire is None:
            raise LocalProtocolError("the relay is not open")
        host, port = self._wire.get_extra_info("sockname")[:2]
        return host, port

    async def open(self, host: str = "127.0.0.1") -> None:
        """Bind the socket on the media thread."""
        await self._media.run(self._bind(host))

    async def close(self) -> None:
        """Close the socket and drop what was not sent yet; idempotent."""
        if self._wire is not None:
            self._media.post(self._wire.abort)

    async def _bind(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        self._wire, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self._wire.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    # Participants

    def join(self, *, user_id: str, room: str, ssrc: int) -> None:
        """Expect this SSRC; media flows once it has been discovered and secured."""
        uplink, downlink = self._impaired.get(user_id, (Impairments(), self._default))
        peer = Peer(user_id, room, ssrc, ImpairedPath(uplink), downlink)
        with self._lock:
            self._by_ssrc = self._by_ssrc | {ssrc: peer}

    def secure(self, ssrc: int, transport: Transport) -> None:
        """Give a participant its key and mode."""
        self._by_ssrc[ssrc].transport = transport

    def leave(self, ssrc: int) -> None:
        """Remove a participant, but keep its counters; idempotent."""
        with self._lock:
            peer = self._by_ssrc.get(ssrc)
            self._by_ssrc = {key: value for key, value in self._by_ssrc.items() if key != ssrc}
            if peer is not None:
                self._totals.setdefault(peer.user_id, Counter()).update(all_counts(peer))

    def impair(self, user_id: str, *, uplink: Impairments | None = None, downlink: Impairments | None = None) -> None:
        """From now on, impair what comes from a user (`uplink`) and what goes to them (`downlink`); None: no impairments."""
        self._impaired[user_id] = (uplink or Impairments(), downlink or Impairments())
        with self._lock:
            for peer in self._peers_of(user_id):
                self._totals.setdefault(user_id, Counter()).update(paths_of(peer))
                peer.uplink = ImpairedPath(uplink or Impairments())
                peer.downlink_impairments = downlink or Impairments()
                peer.downlinks = {}

    def starve(self, user_id: str) -> None:
        """From now on, forward nothing to a user until they have a new session; everything else continues, also what they send."""
        with self._lock:
            for peer in self._peers_of(user_id):
                peer.starved = True

    def unplug(self, user_id: str) -> None:
        """From now on carry nothing from or to a user until they have a new session, keep-alives included: a dead network path."""
        with self._lock:
            for peer in self._peers_of(user_id):
                peer.starved = peer.unplugged = True

    # Counters

    def counts(self, user_id: str) -> Counter[str]:
        """Everything counted for a user over all their sessions.

        `received`: media packets from them; `sent`: audio packets to them; `up.KIND` and `down.KIND`: what the impairments did.
        """
        with self._lock:
            found = Counter(self._totals.get(user_id, Counter()))
            for peer in self._peers_of(user_id):
                found.update(all_counts(peer))
        return found

    def received_from(self, user_id: str) -> int:
        """Audio packets of a user that reached the relay and authenticated."""
        return self.counts(user_id)["received"]

    def sent_to(self, user_id: str) -> int:
        """Audio packets that were sent to a user, duplicates included."""
        return self.counts(user_id)["sent"]

    async def wait_until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Return once a condition on the counters holds; it is checked after each datagram. Raises TimeoutError."""
        try:
            await timeouts.wait_for(self._media.run(self._until(condition)), timeout_s)
        except asyncio.TimeoutError as fault:  # TimeoutError itself only from Python 3.11 on
            raise TimeoutError(f"the relay waited {timeout_s} s in vain") from fault

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _peers_of(self, user_id: str) -> list[Peer]:
        return [peer for peer in self._by_ssrc.values() if peer.user_id == user_id]

    # Datagrams, on the media thread

    def datagram_received(self, datagram: bytes, address: Address) -> None:
        """Handle one datagram; no contents can stop the relay."""
        if any(peer.unplugged and peer.address == address for peer in self._by_ssrc.values()):
            self.refused["unplugged"] += 1
        elif len(datagram) == KEEPALIVE_BYTES:
            self._send(datagram, address)
        elif len(datagram) == DISCOVERY.size and datagram[:4] == struct.pack("!HH", DISCOVERY_REQUEST, DISCOVERY_LENGTH):
            self._discover(datagram, address)
        else:
            self._relay(datagram, address)
        self._wake()

    def error_received(self, fault: Exception) -> None:
        """Count a datagram that could not be delivered: its receiver has closed the socket."""
        self.refused[type(fault).__name__] += 1

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _discover(self, datagram: bytes, address: Address) -> None:
        ssrc = DISCOVERY.unpack(datagram)[2]
        peer = self._by_ssrc.get(ssrc)
        if peer is None:
            self.refused["unknown_ssrc"] += 1
            return
        peer.address = address
        self._send(DISCOVERY.pack(DISCOVERY_REPLY, DISCOVERY_LENGTH, ssrc, address[0].encode(), address[1]), address)

    def _relay(self, datagram: bytes, address: Address) -> None:
        try:
            sender, media = self._open(datagram)
        except RtpError as fault:
            self.refused[fault.reason] += 1
            return
        sender.address = address  # a NAT may have rebound; the packet has authenticated
        sender.counts["received"] += 1
        now = self._media.loop.time()
        for taken in sender.uplink.carry(media, now):
            if isinstance(taken.cargo, MediaPacket) and taken.cargo.payload_type == OPUS_PAYLOAD_TYPE:
                self._fan_out(sender, taken.cargo, taken.at)
        self._drain()

    def _open(self, datagram: bytes) -> tuple[Peer, MediaPacket]:
        packet = RtpPacket.parse(datagram)
        peer = self._by_ssrc.get(packet.ssrc)
        if peer is None or peer.transport is None:
            raise RtpError("unknown_ssrc", "RTP packet of nobody's SSRC")
        payload = strip(peer.transport.open(packet), packet)
        return peer, MediaPacket(packet.ssrc, packet.sequence, packet.timestamp, payload, marker=packet.marker)

    def _fan_out(self, sender: Peer, media: MediaPacket, at: float) -> None:
        for peer in self._by_ssrc.values():
            if peer is sender or peer.starved or peer.room != sender.room or peer.transport is None or peer.address is None:
                continue
            for shipment in peer.downlink(sender.ssrc).carry(media, at):
                heapq.heappush(self._due, (shipment.at, next(self._order), shipment, peer))

    def _drain(self) -> None:
        """Send whatever is due, in order of time, and schedule the next call."""
        loop = self._media.loop
        while self._due and self._due[0][0] <= loop.time():
            _, _, shipment, peer = heapq.heappop(self._due)
            self._ship(shipment, peer)
        if self._due:
            loop.call_at(self._due[0][0], self._drain)
        self._wake()

    def _ship(self, shipment: ScheduledDatagram, peer: Peer) -> None:
        if peer.address is None or peer.transport is None:
            return
        if isinstance(shipment.cargo, OtherDatagram):
            self._send(shipment.cargo.datagram, peer.address)
            return
        media = shipment.cargo
        if media.payload_type == OPUS_PAYLOAD_TYPE and media.payload:
            peer.counts["sent"] += 1
            if self._record:
                entry = Forwarded(media.ssrc, media.sequence, media.timestamp, media.payload, self._media.loop.time())
                self.forwarded.setdefault(peer.user_id, []).append(entry)
        self._send(sealed(media, peer.transport), peer.address)

    def _send(self, datagram: bytes, address: Address) -> None:
        if self._wire is not None and not self._wire.is_closing():
            self._wire.sendto(datagram, address)
