"""Eleven thousand hostile messages of the voice gateway and of the encrypted group; `make soak` sends forty times as many.

Hypothesis chooses the seeds, and shows the one that breaks something.
"""

import asyncio
import itertools
import json
import random
import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from discordplex.voice.gateway.events import (
    AnnounceCommit,
    E2eeEvent,
    ExecuteTransition,
    ExternalSender,
    PrepareEpoch,
    PrepareTransition,
    Proposals,
    Welcome,
)
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.packet import build_header
from tests.voice.booth import noise
from tests.voice.delivery import ADD, Delivery, Member, call_of
from tests.voice.mutations import EXAMPLES, GATEWAY_MESSAGES, GATEWAY_SEEDS, GROUP_MESSAGES, GROUP_SEEDS, ROOM_MIB, memory_mib, mutated
from tests.voice.rig import Rig, read_all
from tests.voice.rtp.test_receiver import SSRC, packets_of

ANN, BOB, CAT = 11, 22, 33
SPEECH = packets_of(noise(20))


def hostile_event(dice: random.Random, genuine: dict[type[E2eeEvent], bytes]) -> E2eeEvent:
    """One message of the group's, most of them a mutation of a genuine one."""
    number = dice.randrange(4)
    kind = dice.choice((ExternalSender, Proposals, Proposals, AnnounceCommit, AnnounceCommit, Welcome, Welcome, None))
    if kind is ExternalSender or kind is Proposals:
        return kind(mutated(dice, genuine[kind]))
    if kind is AnnounceCommit or kind is Welcome:
        return kind(number, mutated(dice, genuine[kind]))
    return dice.choice((PrepareTransition(number, dice.randrange(3)), ExecuteTransition(number), PrepareEpoch(dice.randrange(3), 1)))


def attacked(dice: random.Random, delivery: Delivery, ann: Member, bob: Member) -> None:
    """Let a third enter, and have a member see everything about it mutated."""
    cat = Member(CAT, 9)
    delivery.arrive(cat)
    proposals = delivery.proposals(ADD + cat.key_package)
    commit, welcome = delivery.propose(bob, ADD + cat.key_package)
    genuine: dict[type[E2eeEvent], bytes] = {
        ExternalSender: delivery.external_sender,
        Proposals: proposals,
        AnnounceCommit: commit,
        Welcome: welcome,
    }
    for _ in range(GROUP_MESSAGES):
        ann.e2ee.receive(hostile_event(dice, genuine))
        ann.e2ee.encrypt(SPEECH[0])
        ann.e2ee.decrypt(BOB, mutated(dice, bob.e2ee.encrypt(SPEECH[1]) or b""))


def test_no_message_of_the_group_does_harm() -> None:
    """Eight hundred, to a member of a real group: its calls answer, memory stays flat, and the next group is one as any other."""
    held: list[float] = []

    @settings(EXAMPLES, max_examples=GROUP_SEEDS)
    @given(seed=st.integers(0, 2**32))
    def attack(seed: int) -> None:
        delivery, (ann, bob) = call_of(ANN, BOB)
        attacked(random.Random(seed), delivery, ann, bob)
        again, dave = Delivery(), Member(BOB, 5)
        again.arrive(ann)
        again.arrive(dave)
        again.execute(again.admit(dave))
        frame = dave.e2ee.encrypt(SPEECH[0])
        assert frame
        assert ann.e2ee.decrypt(BOB, frame) == SPEECH[0]
        held.append(memory_mib())

    attack()
    assert held[-1] - held[len(held) // 4] < ROOM_MIB


GENUINE: list[str | bytes] = [
    json.dumps(message)
    for message in (
        {"op": 8, "d": {"v": 8, "heartbeat_interval": 13750.0}},
        {"op": 2, "d": {"ssrc": 5, "ip": "127.0.0.1", "port": 50000, "modes": list(MODES), "heartbeat_interval": 1}},
        {"op": 4, "d": {"mode": MODES[0], "secret_key": list(range(32)), "dave_protocol_version": 1}, "seq": 1},
        {"op": 5, "d": {"user_id": "22", "ssrc": SSRC, "speaking": 1}, "seq": 2},
        {"op": 6, "d": {"t": 1234}},
        {"op": 9, "d": None},
        {"op": 11, "d": {"user_ids": ["22", "33"]}, "seq": 3},
        {"op": 13, "d": {"user_id": "22"}, "seq": 4},
        {"op": 18, "d": {"user_id": "22", "flags": 2}, "seq": 5},
        {"op": 21, "d": {"protocol_version": 1, "transition_id": 3}, "seq": 6},
        {"op": 22, "d": {"transition_id": 3}, "seq": 7},
        {"op": 24, "d": {"protocol_version": 1, "epoch": 1}, "seq": 8},
    )
] + [struct.pack("!HB", 9 + op, op) + bytes(range(60)) for op in (25, 27, 29, 30)]


def ends_the_session(message: str | bytes) -> bool:
    """Whether it describes a session that cannot be: that is left and entered anew, as tests/voice/test_session.py proves."""
    return isinstance(message, str) and "secret_key" in message and not any(f'"{mode}"' in message for mode in MODES)


def hostile_message(dice: random.Random) -> str | bytes:
    """A mutation of a genuine message, of its kind or, now and then, of the other."""
    message = mutation(dice)
    while ends_the_session(message):
        message = mutation(dice)
    return message


def mutation(dice: random.Random) -> str | bytes:
    original = dice.choice(GENUINE)
    content = mutated(dice, original.encode() if isinstance(original, str) else original)
    as_text = isinstance(original, str) is (dice.random() < 0.95)
    return content.decode("utf-8", errors="replace") if as_text else content


DESCRIBED_ANEW = {"op": 4, "d": {"mode": MODES[0], "secret_key": [9] * 32, "dave_protocol_version": 0}}
NAMED = {"op": 5, "d": {"user_id": str(BOB), "ssrc": SSRC, "speaking": 1}}


async def test_no_message_of_the_gateway_does_harm(rig: Rig) -> None:
    """Ten thousand into a live session, over its WebSocket: it lives on, and what is said then is heard."""
    rig.lift_budget()
    seeds: list[int] = []

    @settings(EXAMPLES, max_examples=GATEWAY_SEEDS)
    @given(seed=st.integers(0, 2**32))
    def choose(seed: int) -> None:
        seeds.append(seed)

    choose()
    held: list[float] = []
    outside = Transport.for_mode(MODES[0], bytes([9] * 32))

    async def attack(connection: ServerConnection) -> None:
        for seed in seeds:
            dice = random.Random(seed)
            for _ in range(GATEWAY_MESSAGES):
                await connection.send(hostile_message(dice))
            held.append(memory_mib())

    async def speak(connection: ServerConnection) -> None:
        for message in (DESCRIBED_ANEW, NAMED):
            await connection.send(json.dumps(message))
        for sequence, packet in itertools.cycle(enumerate(SPEECH)):  # until the new key is in use
            header = build_header(sequence=sequence, timestamp=sequence * 960, ssrc=SSRC)
            rig.udp.transport.sendto(outside.seal(header, packet), rig.udp.client)
            await asyncio.sleep(0)
            if rig.ear.frames(BOB):
                return

    async def hostile(connection: ServerConnection) -> None:
        await rig.establish(connection)
        reading = asyncio.create_task(read_all(connection))
        await attack(connection)
        await speak(connection)
        await connection.close(4006)
        await reading

    rig.behaviour = hostile
    assert (await rig.session.run()).code == 4006
    assert rig.ear.frames(BOB)
    assert held[-1] - held[len(held) // 4] < ROOM_MIB
