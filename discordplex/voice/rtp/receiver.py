"""Receiver: from a datagram to a person's sound. Every datagram that is not sound is counted with its reason.

Order of work per datagram: its person, budget, transport, extension, padding, replay, duplicate, end-to-end encryption, order, Opus, sink.
The SSRC, which tells the person, is not encrypted: packets of people who are ignored are dropped unopened.
Counters are `voice.rx.<reason>`. Nothing a network can send raises here.
"""

import struct
from collections.abc import Callable, Container
from typing import Protocol

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import SILENCE_PACKET
from discordplex.errors import RemoteProtocolError
from discordplex.metrics import Metrics
from discordplex.voice.dave.session import MARKER, DaveSession
from discordplex.voice.deafness import StreamCounts
from discordplex.voice.rtp.encryption import Freshness, Transport
from discordplex.voice.rtp.packet import RtpError, RtpPacket, strip
from discordplex.voice.rtp.reorder import WAIT, Arrival, Missing, Packet
from discordplex.voice.rtp.stream import MAX_CONCEALED, MAX_HELD, PACKET_MS, UNHEARD, SpeakerStream, UnnamedPackets

MAX_STREAMS = 64
"""Speakers at once; the one that was silent longest makes room for a new one."""

MAX_NAMES = 1024
"""Names that are kept; a stage has no more people who may speak."""

MAX_WAITING = 16
"""Streams whose packets wait for a name; the one of which the least has come makes room: junk has many numbers."""

MAX_STRANGE_PACKETS = 1000
"""Packets that belong to no name and no stream which are looked at in a second, and at once after a pause: twenty people speak so much."""

MS_PER_BYTE = DISCORD.duration_ms(1)

DISCOVERY = struct.Struct("!HHI64sH")
DISCOVERY_REQUEST, DISCOVERY_REPLY, DISCOVERY_LENGTH = 1, 2, 70
KEEPALIVE = struct.Struct("<Q")
CONTROL_SIZES = (DISCOVERY.size, KEEPALIVE.size)


class Everybody:
    """Contains everybody, also people who are not known yet."""

    def __contains__(self, user_id: object) -> bool:
        del user_id
        return True


EVERYBODY = Everybody()


class PcmSink(Protocol):
    """Takes sound: 48 kHz stereo int16 of any length, with the id of the speaker."""

    def write(self, data: bytes, user: int, /) -> None:
        """Keep it. Never blocks, never raises."""
        ...


class Receiver:
    """Receives for one voice session. Thread: loop."""

    def __init__(self, *, e2ee: DaveSession, sink: PcmSink, metrics: Metrics, on_discovery: Callable[[str, int], None]) -> None:
        self.transport: Transport | None = None
        self.opened = 0
        self.keepalives = range(0)
        """The numbers of the keep-alives that were sent."""
        self.echoes = 0
        """Keep-alives that the voice server has answered."""
        self.alive_at = float("-inf")
        """When the last of them, or the last authentic packet, came."""
        self._ignored: Container[int | None] = frozenset[int | None]()
        self._unanswered = 0
        self._e2ee = e2ee
        self._sink = sink
        self._metrics = metrics
        self._on_discovery = on_discovery
        self._users: dict[int, int] = {}
        self._announced: dict[int, tuple[int, int]] = {}
        self._streams: dict[int, SpeakerStream] = {}
        self._waiting: dict[int, UnnamedPackets] = {}
        self._now = float("-inf")
        self._may_wait = False
        """Whether a packet has been put behind a gap since `due` found none."""
        self._room = float(MAX_STRANGE_PACKETS)
        self._room_at = float("-inf")
        self._frames = metrics.counter("voice.rx.frames")

    def ignore(self, user_ids: Container[int | None]) -> None:
        """Drop the packets of these people unopened from now on; None stands for streams without a name.

        What is held of them is dropped too: waiting packets, and decoders, which remember the last sound.
        """
        self._ignored = user_ids
        for ssrc in [ssrc for ssrc, stream in self._streams.items() if stream.user_id in user_ids]:
            del self._streams[ssrc]
        if None in user_ids:
            self._waiting.clear()

    def name(self, ssrc: int, user_id: int, *, speaking: bool = True) -> None:
        """This SSRC is this person's. What waited for the name is heard at once."""
        if len(self._announced) < MAX_NAMES or ssrc in self._announced:
            self._announced[ssrc] = (user_id, self._announced.get(ssrc, (0, 0))[1] + speaking)
        self._name(ssrc, user_id)

    def forget(self, user_id: int) -> None:
        """This person is gone, and so are their streams."""
        for ssrc in [ssrc for ssrc, owner in self._users.items() if owner == user_id]:
            del self._users[ssrc]
            self._streams.pop(ssrc, None)
            self._waiting.pop(ssrc, None)
        self._announced = {ssrc: said for ssrc, said in self._announced.items() if said[0] != user_id}

    def stream_counts(self) -> list[StreamCounts]:
        """What was counted of each speaker, for `Deafness`."""
        streams, waiting = self._streams, self._waiting
        found = []
        for ssrc in {*streams, *waiting, *self._announced}:
            stream, (named_id, announced) = streams.get(ssrc, UNHEARD), self._announced.get(ssrc, (None, 0))
            user_id = named_id if stream.user_id is None else stream.user_id
            arrived = stream.arrived + (waiting[ssrc].arrived if ssrc in waiting else 0)
            found.append(StreamCounts(ssrc, user_id, announced, arrived, stream.read, stream.silences, stream.ended))
        return found

    @property
    def due(self) -> float | None:
        """When a gap is given up if nothing more arrives; None where nothing waits."""
        if not self._may_wait:
            return None
        dues = [due for stream in self._streams.values() if (due := stream.reorder.due) is not None]
        self._may_wait = bool(dues)
        return min(dues, default=None)

    def tick(self, now: float) -> None:
        """Handle gaps whose time is over."""
        self._now = now
        for stream in self._streams.values():
            self._deliver(stream, now)

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram from the network."""
        self._now = now
        try:
            if len(datagram) in CONTROL_SIZES and self._take_control(datagram, now):
                return
            if self.transport is None:
                self._count("early")
            else:
                self._take_packet(RtpPacket.parse(datagram), self.transport, now)
        except RtpError as fault:
            self._count(fault.reason)

    def failed(self, error: Exception) -> None:
        """A bug of ours: taking a datagram raised. It has been logged, and the call goes on."""
        del error
        self._count("faults")

    def _take_control(self, datagram: bytes, now: float) -> bool:
        """Take the answer to a discovery or a keep-alive; whether it is one."""
        if len(datagram) == KEEPALIVE.size:
            self._take_echo(datagram, now)
            return True
        if datagram[:2] == DISCOVERY_REPLY.to_bytes(2, "big"):
            self._take_discovery(datagram)
            return True
        return False

    def _take_echo(self, datagram: bytes, now: float) -> None:
        """The answer to a keep-alive proves the path, once; a number that was not asked for, or was answered, proves nothing."""
        (number,) = KEEPALIVE.unpack(datagram)
        if number not in self.keepalives or number < self._unanswered:
            self._count("keepalives_unasked")
            return
        self._count("keepalives")
        self._unanswered = number + 1
        self.echoes += 1
        self.alive_at = now

    def _take_packet(self, packet: RtpPacket, transport: Transport, now: float) -> None:
        user_id = self._users.get(packet.ssrc)
        if user_id in self._ignored:
            self._streams.pop(packet.ssrc, None)  # when they are heard again nothing of before is missing, nor used to fill a gap
            self._count("ignored")
            return
        stream = self._streams.get(packet.ssrc)
        if stream is not None and not stream.admits(now):
            self._count("excess")
        elif stream is None and user_id is None and not self._has_room(now):
            self._count("flood")
        elif user_id is None and not self._e2ee.has_keys:
            self._keep_unnamed(packet, transport)
        elif user_id is None and not self._candidates():
            self._count("unnamed")
        else:
            self._open_transport(packet, transport, now)

    def _open_transport(self, packet: RtpPacket, transport: Transport, now: float) -> None:
        payload = strip(transport.open(packet), packet)
        if self._is_replay(packet, transport):
            self._count("replayed")
            return
        self.opened += 1
        self.alive_at = now
        self._take_payload(packet, transport, payload, now)

    def _is_replay(self, packet: RtpPacket, transport: Transport) -> bool:
        """Whether an authentic packet has come before.

        A packet with an old counter is believed where its sequence number is the next one: that the voice server's counters only grow is
        not documented, and a bot that relied on it could be deaf.
        """
        freshness = transport.freshness(packet)
        if freshness is not Freshness.OLD:
            return freshness is Freshness.USED
        stream = self._streams.get(packet.ssrc)
        return stream is None or stream.reorder.look(packet.sequence) is not Arrival.WANTED

    def _has_room(self, now: float) -> bool:
        """Whether one more packet of an unknown stream may be handled. A flood of them takes nothing from known streams.

        Only packets of the voice server take room, as far as that can be known.
        """
        self._room = min(MAX_STRANGE_PACKETS, self._room + (now - self._room_at) * MAX_STRANGE_PACKETS)
        self._room_at = now
        return self._room >= 1

    def _candidates(self) -> list[int]:
        """The people whose key may open a stream without a name; nobody who is ignored."""
        return self._e2ee.candidates(frozenset(self._users.values()), self._ignored)

    def _keep_unnamed(self, packet: RtpPacket, transport: Transport) -> None:
        """Keep a packet that no key can name. Junk is dropped, unless telling it apart may open a packet of somebody who is ignored."""
        may_be_ignored = self._e2ee.may_be_ignored(self._users.values(), self._ignored)
        if not may_be_ignored:
            transport.open(packet)
        self._wait(packet, authentic=not may_be_ignored)

    def _wait(self, packet: RtpPacket, *, authentic: bool) -> None:
        """Keep a packet until its stream has a name. Only what came from the voice server counts as somebody's speech."""
        waiting = self._waiting.get(packet.ssrc)
        if waiting is None:
            if len(self._waiting) == MAX_WAITING:
                del self._waiting[min(self._waiting, key=lambda other: len(self._waiting[other].packets))]
                self._count("streams_evicted")
            waiting = self._waiting[packet.ssrc] = UnnamedPackets()
        self._room -= 1
        waiting.arrived += authentic
        if len(waiting.packets) == MAX_HELD:
            self._count("unnamed")
        waiting.packets.append(packet)

    def _take_discovery(self, datagram: bytes) -> None:
        if self.transport is not None:  # our address has been found: more answers would only wake the loop
            self._count("discovery_late")
            return
        _, _, _, address, port = DISCOVERY.unpack(datagram)
        try:
            self._on_discovery(address.partition(b"\x00")[0].decode("ascii"), port)
        except UnicodeDecodeError:
            self._count("discovery_damaged")

    def _take_payload(self, packet: RtpPacket, transport: Transport, payload: bytes, now: float) -> None:
        stream = self._stream(packet.ssrc, now)
        stream.credit_ms -= PACKET_MS
        must_wait = stream.user_id is None and self._e2ee.may_be_clear(payload)
        if not must_wait:  # what waits comes here again
            transport.note(packet)
        arrival = stream.reorder.look(packet.sequence)
        if arrival is Arrival.DUPLICATE:
            self._count("duplicates")
            return
        if arrival is Arrival.LATE:
            stream.reorder.came_late()
            self._count("late")
            return
        if arrival is Arrival.RESYNC:
            self._count("resyncs")
        if payload:
            stream.ended = payload == SILENCE_PACKET
            stream.arrived += not stream.ended
            stream.silences += stream.ended
        if must_wait:
            self._wait(packet, authentic=True)
        else:
            self._open(packet.ssrc, stream, packet.sequence, payload, now)

    def _stream(self, ssrc: int, now: float) -> SpeakerStream:
        stream = self._streams.get(ssrc)
        if stream is None:
            if len(self._streams) == MAX_STREAMS:
                del self._streams[min(self._streams, key=lambda other: self._streams[other].heard_at)]
                self._count("streams_evicted")
            stream = self._streams[ssrc] = SpeakerStream()
            stream.user_id = self._users.get(ssrc)
            self._room -= stream.user_id is None
        stream.heard_at = now
        return stream

    def _open(self, ssrc: int, stream: SpeakerStream, sequence: int, payload: bytes, now: float) -> None:
        """Decrypt a payload, put it in order, and deliver what is due."""
        opened: bytes | None = payload
        exempt = payload in (b"", SILENCE_PACKET)  # the voice server sends both in the clear, inside encrypted calls too
        if not exempt:
            opened = None if stream.user_id is None else self._e2ee.decrypt(stream.user_id, payload)
        if opened is None and not stream.proven and (found := self._e2ee.find_sender(payload, self._candidates())):
            user_id, opened = found
            stream = self._name_by_key(ssrc, user_id, now)
        if stream.user_id is None:
            self._count("unnamed")
            return
        if opened is None:
            self._count("unopened" if payload.endswith(MARKER) else "unencrypted")
        elif not stream.proven:
            stream.proven = payload.endswith(MARKER)
        if opened is not None and stream.user_id not in self._ignored and stream.reorder.passes(sequence):
            self._decode(stream, opened)
            return
        stream.reorder.push(sequence, opened, now)
        self._may_wait = True
        self._deliver(stream, now)

    def _name_by_key(self, ssrc: int, user_id: int, now: float) -> SpeakerStream:
        """Give a stream to the person whose key opens it, whatever Discord has said about it."""
        if self._streams[ssrc].user_id is not None:
            del self._streams[ssrc]  # what another person has said is nothing to fill a gap of theirs from
        self._note_name(ssrc, user_id)
        self._waiting.pop(ssrc, None)
        self._count("named_by_key")
        stream = self._stream(ssrc, now)
        stream.user_id = user_id
        return stream

    def _deliver(self, stream: SpeakerStream, now: float) -> None:
        while (fact := stream.reorder.pull(now)) is not WAIT:
            if stream.user_id in self._ignored:
                self._count("ignored")
            elif isinstance(fact, Packet):
                self._decode(stream, fact.payload)
            elif isinstance(fact, Missing):
                self._conceal(stream, fact)

    def _decode(self, stream: SpeakerStream, payload: bytes) -> None:
        if not payload:
            self._count("empty")
            return
        try:
            pcm = stream.decoder.decode(payload)
        except RemoteProtocolError:
            self._count("corrupt")
            self._conceal(stream, Missing(1, None))
            return
        stream.concealed = MAX_CONCEALED if payload == SILENCE_PACKET else 0  # what is lost after the end of speech was a pause
        stream.frame_samples = len(pcm) // DISCORD.sample_bytes
        stream.read += payload != SILENCE_PACKET
        self._frames.add()
        stream.credit_ms += PACKET_MS  # what the packet cost before it was known how much sound it is
        self._write(stream, pcm)

    def _conceal(self, stream: SpeakerStream, missing: Missing) -> None:
        """Fill a gap: the last frame from the FEC of the packet behind it, the others by concealment, at most `MAX_CONCEALED`."""
        self._metrics.counter("voice.rx.lost").add(missing.count)
        for left in range(min(missing.count, MAX_CONCEALED - stream.concealed), 0, -1):
            if stream.credit_ms <= 0:
                self._count("excess")
                return
            stream.concealed += 1
            self._count("concealed")
            try:
                self._write(stream, stream.decoder.conceal(missing.following if left == 1 else None, stream.frame_samples))
            except RemoteProtocolError:
                self._count("corrupt")

    def _write(self, stream: SpeakerStream, pcm: bytes) -> None:
        stream.credit_ms -= len(pcm) * MS_PER_BYTE
        if stream.user_id is not None:
            self._sink.write(pcm, stream.user_id)

    def _name(self, ssrc: int, user_id: int) -> None:
        stream = self._streams.get(ssrc)
        if stream is not None and stream.proven and stream.user_id != user_id and self._e2ee.has_keys:
            stream.proven = False  # the next packet shows by its key whose it is
            self._count("misnamed")
            return
        self._note_name(ssrc, user_id)
        waiting = self._waiting.pop(ssrc, None)
        if stream is not None and stream.user_id is not None and stream.user_id != user_id:
            del self._streams[ssrc]  # what another person has said is nothing to fill a gap of theirs from
            self._count("renamed")
        elif stream is not None:
            stream.user_id = user_id
        if waiting is None or self.transport is None:
            return
        for packet in waiting.packets:
            try:
                self._take_packet(packet, self.transport, self._now)
            except RtpError as fault:
                self._count(fault.reason)

    def _note_name(self, ssrc: int, user_id: int) -> None:
        if len(self._users) >= MAX_NAMES and ssrc not in self._users:
            self._users.pop(next(iter(self._users)))
        self._users[ssrc] = user_id

    def _count(self, reason: str) -> None:
        self._metrics.counter(f"voice.rx.{reason}").add()
