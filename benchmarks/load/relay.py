"""LightRelay: UDP for many calls at once: it plays the people, and times what the bot sends. It opens no packet, and decodes nothing.

The people have no sockets: their Opus packets are encoded beforehand, and sealed here with the bot's key, every 20 ms for each speaker.
The bot's packets are timed by the kernel, at the moment at which they were sent, so this process's own lateness is in none of the figures.
"""

import contextlib
import itertools
import socket
import struct
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from discordplex.audio.format import DISCORD, ENGINE
from discordplex.loopback.discord.voice.impairments import MediaPacket
from discordplex.loopback.discord.voice.media_thread import MediaThread
from discordplex.loopback.discord.voice.relay import (
    DISCOVERY,
    DISCOVERY_LENGTH,
    DISCOVERY_REPLY,
    DISCOVERY_REQUEST,
    KEEPALIVE_BYTES,
    RECEIVE_BUFFER_BYTES,
)
from discordplex.loopback.discord.voice.relay_peer import Address, sealed
from discordplex.voice.rtp.encryption import Transport
from discordplex.voice.rtp.packet import FIXED, SEQUENCES, TIMESTAMPS

TIMESTAMP_OPTION: int = getattr(socket, "SO_TIMESTAMPNS", 35)
"""Linux: a datagram comes with the time at which the kernel took it. The module `socket` does not name the option everywhere."""

TIMESPEC = struct.Struct("qq")
LONGEST_BYTES = 2048
NS_PER_S = 1e9

Encrypt = Callable[[int, bytes], bytes | None]
"""End-to-end encryption: SSRC and Opus packet to what is sent; None while there is no key."""


@dataclass(slots=True)
class Arrivals:
    """The packets of one call's bot, by the kernel's clock."""

    packets: int = 0
    gaps_ms: "array[float]" = field(default_factory=lambda: array("d"))
    """How much later than it should each packet came after the one before it; negative: earlier."""
    _last: tuple[float, int] | None = None

    def take(self, at_s: float, timestamp: int) -> None:
        """One packet with its RTP timestamp."""
        self.packets += 1
        if self._last is not None:
            before_s, before = self._last
            frames_s = (timestamp - before) % TIMESTAMPS / DISCORD.rate_hz
            self.gaps_ms.append((at_s - before_s - frames_s) * 1000)
        self._last = at_s, timestamp

    def forget(self) -> None:
        """Begin to count anew; the next packet has none before it."""
        self.packets, self.gaps_ms, self._last = 0, array("d"), None


@dataclass(slots=True)
class Seat:
    """One participant. Without an address it is a person, and receives nothing."""

    user_id: str
    room: str
    ssrc: int
    transport: Transport | None = None
    address: Address | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)


@dataclass(slots=True)
class Speech:
    """What one person says, over and over."""

    seat: Seat
    packets: Sequence[bytes]
    encrypt: Encrypt
    due: float
    sent: int = 0

    def next_packet(self) -> MediaPacket | None:
        """The next one, end-to-end encrypted; None while there is no key."""
        number = self.sent
        self.sent += 1
        payload = self.encrypt(self.seat.ssrc, self.packets[number % len(self.packets)])
        if payload is None:
            return None
        return MediaPacket(self.seat.ssrc, number % SEQUENCES, number * ENGINE.frame_samples % TIMESTAMPS, payload)


class LightRelay:
    """One UDP socket on the media thread. `join`, `secure` and `leave` are for the server's loop, the rest says its thread."""

    def __init__(self, media: MediaThread) -> None:
        self.late_ms = array("d")
        """How much after its time each packet of the people left. Thread: media."""
        self.read_ms = array("d")
        """How long each packet of the bot lay in the socket. Thread: media."""
        self._media = media
        self._wire: socket.socket | None = None
        self._seats: dict[int, Seat] = {}
        self._speeches: dict[int, Speech] = {}

    async def open(self) -> None:
        """Bind the socket on the media thread."""
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        wire.setblocking(False)
        wire.bind(("127.0.0.1", 0))
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        wire.setsockopt(socket.SOL_SOCKET, TIMESTAMP_OPTION, 1)
        self._wire = wire
        self._media.post(self._media.loop.add_reader, wire, self._read)

    async def close(self) -> None:
        """Close the socket; idempotent."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await self._media.run(self._end(wire))

    async def _end(self, wire: socket.socket) -> None:
        self._speeches.clear()
        self._media.loop.remove_reader(wire)
        wire.close()

    @property
    def address(self) -> Address:
        """Where clients send to. Raises RuntimeError while it is not open."""
        if self._wire is None:
            raise RuntimeError("the relay is not open")
        host, port = self._wire.getsockname()
        return host, port

    # Participants

    def join(self, *, user_id: str, room: str, ssrc: int) -> None:
        """Expect this SSRC."""
        self._seats = self._seats | {ssrc: Seat(user_id, room, ssrc)}

    def secure(self, ssrc: int, transport: Transport) -> None:
        """Give a participant its key and mode."""
        self._seats[ssrc].transport = transport

    def leave(self, ssrc: int) -> None:
        """Remove a participant; idempotent."""
        self._speeches.pop(ssrc, None)
        self._seats = {key: seat for key, seat in self._seats.items() if key != ssrc}

    def seats_of(self, user_id: str) -> list[Seat]:
        """Everywhere a user takes part."""
        return [seat for seat in self._seats.values() if seat.user_id == user_id]

    def speak(self, ssrc: int, packets: Sequence[bytes], encrypt: Encrypt, phase: float) -> None:
        """Let somebody speak without a pause until they leave, at this part (0 to 1) of the 20 ms."""
        self._media.post(self._begin, ssrc, packets, encrypt, phase)

    # Datagrams, on the media thread

    def _begin(self, ssrc: int, packets: Sequence[bytes], encrypt: Encrypt, phase: float) -> None:
        seat = self._seats.get(ssrc)
        if seat is None:
            return
        period, now = ENGINE.frame_seconds, self._media.loop.time()
        speech = Speech(seat, packets, encrypt, due=(now // period + 1 + phase) * period)
        self._speeches[ssrc] = speech
        self._media.loop.call_at(speech.due, self._say, speech)

    def _say(self, speech: Speech) -> None:
        if speech.seat.ssrc not in self._speeches or self._wire is None:
            return
        self.late_ms.append((self._media.loop.time() - speech.due) * 1000)
        packet = speech.next_packet()
        if packet is not None:
            for seat in self._listeners(speech.seat):
                with contextlib.suppress(OSError):  # a full buffer loses a packet, as a network does
                    self._wire.sendto(sealed(packet, seat.transport), seat.address)  # type: ignore[arg-type]  # it has both
        speech.due += ENGINE.frame_seconds
        self._media.loop.call_at(speech.due, self._say, speech)

    def _listeners(self, speaker: Seat) -> list[Seat]:
        return [seat for seat in self._seats.values() if seat.room == speaker.room and seat.transport and seat.address]

    def _read(self) -> None:
        """Take every datagram that waits."""
        wire = self._wire
        while wire is not None:
            try:
                datagram, extra, _, address = wire.recvmsg(LONGEST_BYTES, 64)
            except OSError:  # none is left, or the bot has closed a socket
                return
            self._take(wire, datagram, address, taken_at(extra))

    def _take(self, wire: socket.socket, datagram: bytes, address: Address, at_s: float) -> None:
        if len(datagram) == KEEPALIVE_BYTES:
            wire.sendto(datagram, address)
        elif len(datagram) == DISCOVERY.size and datagram[:4] == struct.pack("!HH", DISCOVERY_REQUEST, DISCOVERY_LENGTH):
            self._discover(wire, datagram, address)
        elif len(datagram) > FIXED.size:
            _, _, _, timestamp, ssrc = FIXED.unpack_from(datagram)
            seat = self._seats.get(ssrc)
            if seat is not None:
                seat.arrivals.take(at_s, timestamp)
                self.read_ms.append((time.time() - at_s) * 1000)

    def _discover(self, wire: socket.socket, datagram: bytes, address: Address) -> None:
        ssrc = DISCOVERY.unpack(datagram)[2]
        seat = self._seats.get(ssrc)
        if seat is not None:
            seat.address = address
            wire.sendto(DISCOVERY.pack(DISCOVERY_REPLY, DISCOVERY_LENGTH, ssrc, address[0].encode(), address[1]), address)

    # Measuring

    async def forget(self) -> None:
        """Begin to measure anew."""
        await self._media.run(self._forget())

    async def _forget(self) -> None:
        self.late_ms, self.read_ms = array("d"), array("d")
        for seat in self._seats.values():
            seat.arrivals.forget()

    def gaps_ms(self) -> list[float]:
        """`Arrivals.gaps_ms` of all calls."""
        return list(itertools.chain.from_iterable(seat.arrivals.gaps_ms for seat in self._seats.values()))


def taken_at(extra: Sequence[tuple[int, int, bytes]]) -> float:
    """When the kernel took a datagram, in seconds of `time.time`; now, where it does not say."""
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == TIMESTAMP_OPTION and len(data) >= TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / NS_PER_S)
    return time.time()
