"""Floods: more sound than real time, more datagrams than people make, more ids than there are people. What it costs stays bounded."""

import itertools
import json
import random

import pytest
from websockets.asyncio.server import ServerConnection

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import OpusEncoder
from discordplex.voice.close_codes import Repair
from discordplex.voice.dave.group import MAX_MEMBERS, MAX_PENDING
from discordplex.voice.gateway.events import ExecuteTransition, PrepareTransition, SendReadyForTransition
from discordplex.voice.gateway.protocol import MAX_UNSENT, Credentials, VoiceGateway
from discordplex.voice.members import MAX_PEOPLE, Members
from discordplex.voice.rtp.receiver import MAX_NAMES, MAX_STRANGE_PACKETS, MAX_STREAMS, MAX_WAITING
from discordplex.voice.rtp.reorder import REACH_PACKETS
from discordplex.voice.rtp.stream import MAX_HELD, PACKET_MS, SOUND_BURST_MS, SOUND_MS_PER_S
from tests.voice.booth import noise
from tests.voice.delivery import call_of
from tests.voice.mutations import ROOM_MIB, memory_mib
from tests.voice.rig import Rig, read_all
from tests.voice.rtp.test_receiver import ANN, BOB, CAT, PACKETS, SSRC, Studio, sealed

IDS = 100_000
SECONDS = 10
LONG_PACKET = OpusEncoder(bitrate=16_000).encode(noise(6))
"""120 ms in one packet."""


@pytest.fixture
def studio() -> Studio:
    return Studio()


def heard_ms(studio: Studio, user_id: int) -> float:
    return DISCORD.duration_ms(len(studio.ear.pcm.get(user_id, b"")))


@pytest.mark.parametrize(
    ("packets_per_s", "step", "payload"),
    [(50, 1, LONG_PACKET), (500, 1, LONG_PACKET), (50, 6, LONG_PACKET), (50, 99, LONG_PACKET), (500, 1, PACKETS[0]), (500, 6, PACKETS[0])],
)
def test_nobody_becomes_more_sound_than_real_time_allows(studio: Studio, packets_per_s: int, step: int, payload: bytes) -> None:
    """Packets of 120 ms, packets too often, gaps that ask to be filled in: what one speaker becomes in ten seconds has a bound."""
    studio.receiver.name(SSRC, ANN)
    for number in range(packets_per_s * SECONDS):
        now = 100.0 + number / packets_per_s
        studio.receiver.receive(studio.datagram(number * step % 65_536, payload), now)
        studio.receiver.tick(now)
    # What waits for its order when the budget is used up is still played.
    assert heard_ms(studio, ANN) <= SOUND_BURST_MS + SECONDS * SOUND_MS_PER_S + (REACH_PACKETS + 1) * 120
    assert heard_ms(studio, ANN) > SECONDS * 1000
    assert studio.counts()["excess"] > 0


def test_who_speaks_in_real_time_loses_nothing(studio: Studio) -> None:
    """A minute at 50 packets a second, a clock that is 1 % fast, with every packet twice and a second's packets at once now and then."""
    studio.receiver.name(SSRC, ANN)
    for number in range(50 * 60):
        at = number / 50.5
        now = 100.0 + (at // 1 + 1 if at % 10 > 9 else at)  # every tenth second comes at its end
        for _ in range(2):
            studio.receiver.receive(studio.datagram(number, PACKETS[number % len(PACKETS)]), now)
    assert studio.ear.frames(ANN) == 50 * 60
    assert "excess" not in studio.counts()


@pytest.mark.parametrize("frame_ms", [2.5, 5, 10, 40, 60, 120])
def test_packets_of_any_length_are_heard_in_real_time(studio: Studio, frame_ms: float) -> None:
    """Opus knows many lengths; the budget is one of sound, whatever the number of packets that carry it."""
    studio.receiver.name(SSRC, ANN)
    packet = OpusEncoder(application="lowdelay" if frame_ms < 10 else "audio").encode(
        noise(6)[: round(DISCORD.frame_bytes * frame_ms / 20)]
    )
    count = round(SECONDS * 1000 / frame_ms)
    for number in range(count):
        studio.receiver.receive(studio.datagram(number, packet), 100.0 + number * frame_ms / 1000)
    assert heard_ms(studio, ANN) == pytest.approx(count * frame_ms)
    assert studio.counts() == {"frames": count}


def test_garbage_costs_a_bounded_number_of_openings() -> None:
    """A thousand packets a second that no key opens: no more of them are tried than the shortest Opus packets would be."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio = Studio(ann.e2ee)
    studio.receiver.name(SSRC, BOB)
    dice = random.Random(1)
    for number in range(1000 * SECONDS):
        studio.receiver.receive(studio.datagram(number % 65_536, dice.randbytes(60) + b"\xfa\xfa"), 100.0 + number / 1000)
    assert studio.receiver.opened <= (SOUND_BURST_MS + SECONDS * SOUND_MS_PER_S) / PACKET_MS + 1
    assert bob.user_id == BOB


def test_packets_of_nobody_known_are_bounded(studio: Studio) -> None:
    """A hundred thousand in a second, each from another SSRC: a bounded number is looked at, the others are counted and dropped."""
    for ssrc in range(IDS):
        studio.receiver.receive(studio.datagram(1, PACKETS[0], ssrc=ssrc), 100.0 + ssrc / IDS)
    assert studio.counts()["flood"] >= IDS - 2 * MAX_STRANGE_PACKETS - 1


@pytest.mark.parametrize("flooder", [SSRC + 1, None])
def test_a_flood_takes_nothing_from_the_others(studio: Studio, flooder: int | None) -> None:
    """Ten thousand packets a second, of somebody with a name or of nobody known: who speaks beside it is heard in every packet."""
    studio.receiver.name(SSRC, ANN)
    if flooder:
        studio.receiver.name(flooder, BOB)
    for number in range(100):
        now = 100.0 + number / 50
        for sequence in range(200):
            ssrc = flooder or 10_000 + sequence
            studio.receiver.receive(studio.datagram((number * 200 + sequence) % 65_536, PACKETS[0], ssrc=ssrc), now)
        studio.receiver.receive(studio.datagram(number, PACKETS[number % len(PACKETS)]), now)
    assert studio.ear.frames(ANN) == 100
    assert sum(studio.counts().get(reason, 0) for reason in ("flood", "excess")) > 100 * 100


def test_a_hundred_thousand_ids_leave_a_receiver_as_it_is() -> None:
    """Names, streams and packets that wait, from as many SSRCs and of as many people: each map stays within its bound."""
    _, (ann, bob) = call_of(ANN, BOB)
    studio = Studio(ann.e2ee)
    clear = Studio()
    before = memory_mib()
    frame = bob.e2ee.encrypt(PACKETS[0]) or b""
    for number in range(IDS):
        for one, payload in ((studio, frame), (clear, PACKETS[0])):
            one.receiver.name(number, number + 1, speaking=True)
            if number % 20 == 0:
                for sequence in range(3):
                    one.receiver.receive(one.datagram(sequence, payload, ssrc=2**31 + number), number / 100)
    for receiver in (studio.receiver, clear.receiver):
        receiver.tick(1e9)
        assert len(receiver._users) <= MAX_NAMES
        assert len(receiver._announced) <= MAX_NAMES
        assert len(receiver._streams) <= MAX_STREAMS
        assert len(receiver._waiting) <= MAX_WAITING
        assert len(receiver.stream_counts()) <= MAX_NAMES + MAX_STREAMS + MAX_WAITING
        assert all(len(waiting.packets) <= MAX_HELD for waiting in receiver._waiting.values())
    assert memory_mib() - before < ROOM_MIB


def test_one_person_with_a_thousand_streams_is_bounded() -> None:
    """Each packet under another SSRC, known by its key: names and streams stay within their bounds, and others lose nothing."""
    _, (ann, bob, cat) = call_of(ANN, BOB, CAT)
    studio = Studio(ann.e2ee)
    studio.receiver.name(SSRC, CAT)
    for number in range(2 * MAX_NAMES):
        studio.receiver.receive(studio.datagram(0, sealed(bob, PACKETS[0]), ssrc=10_000 + number), studio.now)
        if number % 10 == 0:
            studio.receiver.receive(studio.datagram(number // 10, sealed(cat, PACKETS[0])), studio.now)
            studio.now += 0.02
    assert len(studio.receiver._users) <= MAX_NAMES
    assert len(studio.receiver._streams) <= MAX_STREAMS
    assert studio.ear.frames(CAT) == 2 * MAX_NAMES // 10 + 1


def test_a_hundred_thousand_people_leave_the_group_as_it_is() -> None:
    """Members who are said to join, transitions that are announced and never executed, and execution of what nobody announced."""
    _, (ann, bob) = call_of(ANN, BOB)
    before = memory_mib()
    for start in range(1000, IDS, 1000):
        ann.e2ee.join(range(start, start + 1000))
        ann.e2ee.receive(ExecuteTransition(start % 65_536))
    for number in range(2000):
        ann.e2ee.receive(PrepareTransition(number, 0))
    assert len(ann.e2ee._group._members) <= MAX_MEMBERS
    assert len(ann.e2ee._group._pending) <= MAX_PENDING
    assert ann.e2ee.decrypt(BOB, bob.e2ee.encrypt(PACKETS[0]) or b"") == PACKETS[0]
    assert memory_mib() - before < ROOM_MIB


def test_a_hundred_thousand_people_are_no_roster() -> None:
    """Who is too many is not listed, and whoever leaves makes room."""
    roster = Members(own_id=1)
    for start in range(1000, IDS, 1000):
        roster.joined(range(start, start + 1000))
    assert len(roster.people) == MAX_PEOPLE
    roster.left(1000)
    assert roster.joined([2**60]) == [2**60]


def test_what_waits_to_be_sent_is_bounded() -> None:
    """A server that asks for answers before the session is live, or reads none, gets the newest of them."""
    gateway = VoiceGateway(Credentials(1, 2, "session", "token"), max_dave_protocol_version=1)
    for number in range(IDS):
        gateway.command(SendReadyForTransition(number))
    gateway.connected()
    for message in ({"op": 8, "d": {"heartbeat_interval": 1000}}, {"op": 2, "d": {"ssrc": 5, "ip": "::1", "port": 5, "modes": []}}):
        gateway.receive(json.dumps(message))
    gateway.receive(json.dumps({"op": 4, "d": {"mode": "any", "secret_key": [7] * 32}}))
    sent = gateway.messages_to_send()
    assert len(sent) <= MAX_UNSENT + 1
    assert json.loads(sent[-1])["d"] == {"transition_id": IDS - 1}


async def test_a_session_survives_a_flood_of_ids(rig: Rig) -> None:
    """Names, people, flags and platforms in tens of thousands, over its WebSocket: memory stays flat, and a message too long ends it."""
    held: list[float] = []

    async def flood(connection: ServerConnection) -> None:
        await rig.establish(connection)
        held.append(memory_mib())
        for start in range(0, IDS, 5000):
            everybody = [str(2**40 + user_id) for user_id in range(start, start + 5000)]
            await connection.send(json.dumps({"op": 11, "d": {"user_ids": everybody}}))
            for user_id in itertools.islice(everybody, 0, 5000, 50):
                data = {"user_id": user_id, "ssrc": int(user_id) % 2**32, "speaking": 1, "flags": 2, "platform": 1}
                for op in (5, 13, 18, 20, 21, 22):
                    await connection.send(json.dumps({"op": op, "d": data | {"transition_id": 1, "protocol_version": 0}}))
        held.append(memory_mib())
        await connection.send(json.dumps({"op": 11, "d": {"user_ids": ["1" * 600_000]}}))
        await read_all(connection)

    rig.lift_budget()
    rig.behaviour = flood
    closing = await rig.session.run()
    assert closing.repair is Repair.RESUME
    assert held[1] - held[0] < ROOM_MIB
