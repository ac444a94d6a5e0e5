"""The media relay, met by bare UDP sockets."""

import asyncio
import os
import struct
from collections.abc import AsyncIterator
from functools import partial

import pytest

from discordplex.loopback import timeouts
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.discord.voice.media_thread import MediaThread
from discordplex.loopback.discord.voice.relay import Relay
from discordplex.loopback.discord.voice.relay_peer import Address
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.packet import RtpError, RtpPacket, build_header, build_plaintext, strip


class Phone(asyncio.DatagramProtocol):
    """A UDP socket that keeps what comes."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[bytes] = asyncio.Queue()
        self.wire: asyncio.DatagramTransport

    def datagram_received(self, datagram: bytes, _address: Address) -> None:
        self.came.put_nowait(datagram)

    def send(self, datagram: bytes) -> None:
        self.wire.sendto(datagram)

    async def hear(self) -> bytes:
        return await timeouts.wait_for(self.came.get(), 5)


def as_it_is(phone: Phone) -> Phone:
    return phone


@pytest.fixture
async def relay() -> AsyncIterator[Relay]:
    async with MediaThread() as media:
        relay = Relay(media, record=True)
        await relay.open()
        yield relay
        await relay.close()


@pytest.fixture
async def phones(relay: Relay) -> AsyncIterator[list[Phone]]:
    loop = asyncio.get_running_loop()
    opened = [Phone() for _ in range(3)]
    for phone in opened:
        phone.wire = (await loop.create_datagram_endpoint(partial(as_it_is, phone), remote_addr=relay.address))[0]
    yield opened
    for phone in opened:
        phone.wire.close()
    await asyncio.sleep(0)


def discovery(ssrc: int) -> bytes:
    return struct.pack("!HHI64sH", 1, 70, ssrc, b"", 0)


class Seat:
    """One participant: a phone that has been discovered and has a key of its own."""

    def __init__(self, relay: Relay, phone: Phone, ssrc: int, *, room: str = "room", mode: str = MODES[0]) -> None:
        key = os.urandom(32)
        self.phone, self.ssrc = phone, ssrc
        self.transport = Transport.for_mode(mode, key)
        relay.join(user_id=str(ssrc), room=room, ssrc=ssrc)
        relay.secure(ssrc, Transport.for_mode(mode, key))

    async def discover(self) -> "Seat":
        self.phone.send(discovery(self.ssrc))
        await self.phone.hear()
        return self

    def packet(self, payload: bytes, sequence: int = 1, **dress: int) -> bytes:
        header = build_header(
            sequence=sequence,
            timestamp=sequence * 960,
            ssrc=self.ssrc,
            padded=bool(dress.get("padding")),
            extension_words=dress.get("words"),
            csrc=(9,) * dress.get("csrc", 0),
        )
        words = os.urandom(4 * dress.get("words", 0))
        return self.transport.seal(header, build_plaintext(payload, extension=words, padding_bytes=dress.get("padding", 0)))

    async def hear(self) -> tuple[RtpPacket, bytes]:
        packet = RtpPacket.parse(await self.phone.hear())
        return packet, strip(self.transport.open(packet), packet)


async def test_discovery_answers_with_the_senders_own_address(relay: Relay, phones: list[Phone]) -> None:
    """The 74 bytes come back as type 2 with the address and port that the relay sees."""
    relay.join(user_id="7", room="room", ssrc=42)
    phones[0].send(discovery(42))
    kind, length, ssrc, address, port = struct.unpack("!HHI64sH", await phones[0].hear())
    assert (kind, length, ssrc) == (2, 70, 42)
    assert (address.rstrip(b"\x00").decode(), port) == phones[0].wire.get_extra_info("sockname")


async def test_a_keepalive_is_echoed(relay: Relay, phones: list[Phone]) -> None:
    """Eight bytes come back as they went."""
    assert relay.refused == {}
    phones[0].send(b"\x01\x00\x00\x00\x00\x00\x00\x00")
    assert await phones[0].hear() == b"\x01\x00\x00\x00\x00\x00\x00\x00"


async def test_a_packet_is_sealed_anew_for_each_receiver(relay: Relay, phones: list[Phone]) -> None:
    """Receivers of different modes and keys find the same payload; only the sealing differs, and the sender hears nothing."""
    speaker = await Seat(relay, phones[0], 10).discover()
    others = [await Seat(relay, phones[1], 20, mode=MODES[0]).discover(), await Seat(relay, phones[2], 30, mode=MODES[1]).discover()]
    speaker.phone.send(speaker.packet(b"opus", sequence=65_535))
    for other in others:
        packet, payload = await other.hear()
        assert (payload, packet.sequence, packet.ssrc, packet.extension_words) == (b"opus", 65_535, 10, 1)
    assert speaker.phone.came.empty()
    assert (relay.received_from("10"), relay.sent_to("20"), relay.sent_to("30")) == (1, 1, 1)


@pytest.mark.parametrize("dress", [{}, {"padding": 7}, {"words": 2}, {"csrc": 2}, {"padding": 1, "words": 0, "csrc": 15}])
async def test_whatever_a_client_wraps_around_it_the_payload_goes_on(relay: Relay, phones: list[Phone], dress: dict[str, int]) -> None:
    """Padding, extension words and CSRCs of the sender end at the relay."""
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    speaker.phone.send(speaker.packet(b"opus", **dress))
    assert (await listener.hear())[1] == b"opus"


async def test_rooms_do_not_hear_each_other(relay: Relay, phones: list[Phone]) -> None:
    """A packet goes to its own room alone."""
    speaker = await Seat(relay, phones[0], 10, room="a").discover()
    neighbour = await Seat(relay, phones[1], 20, room="b").discover()
    roommate = await Seat(relay, phones[2], 30, room="a").discover()
    speaker.phone.send(speaker.packet(b"opus"))
    await roommate.hear()
    assert neighbour.phone.came.empty()
    assert relay.sent_to("20") == 0


async def test_a_sender_whose_address_changes_is_followed(relay: Relay, phones: list[Phone]) -> None:
    """A packet that authenticates moves its sender's address, as a rebinding NAT does."""
    mover, other = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    phones[2].send(mover.packet(b"from elsewhere"))
    await other.hear()
    other.phone.send(other.packet(b"hello"))
    mover.phone = phones[2]
    assert (await mover.hear())[1] == b"hello"


async def test_nonsense_is_counted_and_the_next_packet_passes(relay: Relay, phones: list[Phone]) -> None:
    """Whatever arrives, the relay answers the next good packet; each refused datagram is counted by its reason."""
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    forged = bytearray(speaker.packet(b"opus"))
    forged[-10] ^= 1
    unknown = build_header(sequence=1, timestamp=1, ssrc=99) + bytes(40)
    for nonsense in (b"x", bytes(74), b"\x81\xc9" + bytes(60), discovery(99), unknown, bytes(forged)):
        speaker.phone.send(nonsense)
    speaker.phone.send(speaker.packet(b"good"))
    assert (await listener.hear())[1] == b"good"
    assert relay.refused == {"short": 1, "version": 1, "rtcp": 1, "unknown_ssrc": 2, "unauthentic": 1}


async def test_a_bad_uplink_loses_for_everybody(relay: Relay, phones: list[Phone]) -> None:
    """What is lost between a client and the relay reaches nobody, and is counted for the client."""
    relay.impair("10", uplink=Impairments(lost=frozenset({0})))
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    for sequence in (1, 2):
        speaker.phone.send(speaker.packet(b"%d" % sequence, sequence=sequence))
    assert (await listener.hear())[1] == b"2"
    assert relay.counts("10")["up.lost"] == 1
    assert relay.received_from("10") == 2


async def test_packets_of_one_moment_keep_their_order_under_jitter(relay: Relay, phones: list[Phone]) -> None:
    """Delayed packets leave in the order in which they came."""
    relay.impair("20", downlink=Impairments(jitter_ms=5, seed=1))
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    for sequence in range(50):
        speaker.phone.send(speaker.packet(b"x", sequence=sequence))
    assert [(await listener.hear())[0].sequence for _ in range(50)] == list(range(50))


async def test_who_left_is_forgotten_except_for_the_counters(relay: Relay, phones: list[Phone]) -> None:
    """After leaving, an SSRC is nobody's; what was counted for its user stays."""
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    speaker.phone.send(speaker.packet(b"opus"))
    await listener.hear()
    relay.leave(10)
    relay.leave(10)
    speaker.phone.send(speaker.packet(b"opus", sequence=2))
    speaker.phone.send(b"\x00" * 8)
    await speaker.phone.hear()
    assert relay.refused["unknown_ssrc"] == 1
    assert relay.received_from("10") == 1


async def test_junk_does_not_open(relay: Relay, phones: list[Phone]) -> None:
    """What the impairments call junk is refused by any parser, and the real packet still arrives."""
    relay.impair("20", downlink=Impairments(junk=1.0, seed=3))
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    for sequence in range(30):
        speaker.phone.send(speaker.packet(b"opus", sequence=sequence))
    heard = 0
    while heard < 30:
        try:
            heard += (await listener.hear())[1] == b"opus"
        except RtpError:
            continue
    assert relay.sent_to("20") == 30


async def test_a_reordered_packet_is_overtaken_on_the_wire(relay: Relay, phones: list[Phone]) -> None:
    """The relay holds a packet back for as long as its impairments say, and the others go ahead."""
    relay.impair("20", downlink=Impairments(reorder=0.2, seed=2))
    speaker, listener = await Seat(relay, phones[0], 10).discover(), await Seat(relay, phones[1], 20).discover()
    for sequence in range(20):
        speaker.phone.send(speaker.packet(b"x", sequence=sequence))
    arrived = [(await listener.hear())[0].sequence for _ in range(20)]
    late = relay.counts("20")["down.reordered"]
    assert 0 < late < 10
    assert sorted(arrived[: 20 - late]) == arrived[: 20 - late]
    assert sorted(arrived) == list(range(20)) != arrived
