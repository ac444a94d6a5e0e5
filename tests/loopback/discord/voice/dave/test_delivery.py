"""The DAVE delivery service with people alone: two independent implementations in one call, and no bot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Literal

import pytest

from discordplex.errors import VoiceError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.messages import Opcode
from discordplex.loopback.discord.world.model import STAGE

if TYPE_CHECKING:
    from tests.loopback.discord.conftest import OpenPlace, VoicePlace

Tone = Callable[..., bytes]
Library = Literal["libdave", "davey"]


@pytest.fixture
async def secret(open_place: "OpenPlace") -> AsyncIterator["VoicePlace"]:
    async with open_place(dave=True) as place:
        yield place


@contextlib.asynccontextmanager
async def gathered(place: "VoicePlace", *libraries: Library) -> AsyncIterator[list[Person]]:
    """People who have entered one after the other and are in one group."""
    async with contextlib.AsyncExitStack() as exits:
        users = list(place.world.users.values())
        people = [
            await exits.enter_async_context(Person(place, user, place.lounge, e2ee=library))
            for user, library in zip(users, libraries, strict=False)
        ]
        await one_group(place, *people)
        yield people


async def one_group(place: "VoicePlace", *people: Person) -> None:
    """Everybody sees everybody in one settled group, with one privacy code."""
    for person in people:
        await person.wait_until_encrypted(*people)
    delivery = place.voice.delivery(people[0].channel_id)
    assert delivery is not None
    assert set(delivery.group.members) == {person.user.id for person in people}
    codes = {person.member.privacy_code for person in people if person.member}
    assert len(codes) == 1
    assert len(codes.pop() or "") == 30


async def everybody_heard(people: list[Person], tone: Tone, seconds: float = 0.1) -> None:
    """All speak at once, and each hears each other's packets bit for bit."""
    before = {(listener, speaker): len(listener.heard.opus(speaker.user.id)) for listener in people for speaker in people}
    said = {person: len(person.said.opus()) for person in people}
    await asyncio.gather(*(person.say(tone(seconds, 300 + 100 * index)) for index, person in enumerate(people)))
    for listener in people:
        for speaker in people:
            if speaker is not listener:
                spoken = speaker.said.opus()[said[speaker] :]
                assert len(spoken) == round(seconds * 50)
                start = before[listener, speaker]
                await listener.wait_until(lambda: listener.heard.opus(speaker.user.id)[start:] == spoken)  # noqa: B023  # awaited at once


@pytest.mark.parametrize("first", ["libdave", "davey"])
@pytest.mark.parametrize("second", ["libdave", "davey"])
async def test_two_people_hear_each_other_bit_for_bit(secret: "VoicePlace", tone: Tone, first: Library, second: Library) -> None:
    """Whichever library each speaks through: one group, one privacy code, every Opus packet as it was made."""
    async with gathered(secret, first, second) as people:
        await everybody_heard(people, tone)


async def test_the_relay_never_sees_the_opus_packet(secret: "VoicePlace", tone: Tone) -> None:
    """What the relay forwards is encrypted, silence packets excepted."""
    async with gathered(secret, "libdave", "davey") as people:
        await everybody_heard(people, tone)
        passed = {packet.payload for packet in secret.voice.relay.forwarded[people[1].user.id]}
        assert not passed & set(people[0].said.opus())
        assert b"\xf8\xff\xfe" in passed


async def test_three_join_and_leave_one_after_the_other(secret: "VoicePlace", tone: Tone) -> None:
    """Each change of people is one epoch; whoever is there hears everybody else who is there."""
    async with gathered(secret, "libdave", "davey", "libdave") as people:
        await everybody_heard(people, tone)
        await people[1].leave()
        rest = [people[0], people[2]]
        delivery = secret.voice.delivery(secret.lounge)
        assert delivery is not None
        await rest[0].wait_until(lambda: delivery.settled)
        await one_group(secret, *rest)
        await everybody_heard(rest, tone)
        assert [epoch.number for epoch in delivery.epochs] == [1, 2, 3]
        assert [len(epoch.members) for epoch in delivery.epochs] == [2, 3, 2]


async def test_many_join_and_leave_at_once(secret: "VoicePlace", tone: Tone) -> None:
    """Eight come at the same moment and become one group; four go at the same moment and four remain one."""
    libraries: list[Library] = ["libdave", "davey"] * 4
    people = [Person(secret, user, secret.lounge, e2ee=lib) for user, lib in zip(secret.world.users.values(), libraries, strict=True)]
    try:
        await asyncio.gather(*(person.__aenter__() for person in people))
        await one_group(secret, *people)
        await everybody_heard(people, tone, 0.06)
        await asyncio.gather(*(person.leave() for person in people[::2]))
        rest = people[1::2]
        await settled(secret, rest)
        await everybody_heard(rest, tone, 0.06)
    finally:
        await asyncio.gather(*(person.leave() for person in people))


async def settled(place: "VoicePlace", people: list[Person]) -> None:
    delivery = place.voice.delivery(people[0].channel_id)
    assert delivery is not None
    reached = asyncio.Event()
    stop = place.world.subscribe(lambda _: reached.set() if delivery.settled else None)
    try:
        if not delivery.settled:
            await timeouts.wait_for(reached.wait(), 10)
    finally:
        stop()
    await one_group(place, *people)


@pytest.mark.parametrize("library", ["libdave", "davey"])
async def test_whoever_stays_alone_starts_over_each_time(secret: "VoicePlace", tone: Tone, library: Library) -> None:
    """Three visits: each time the one who stays is reset to epoch 1, and the next visitor is in a new group with them."""
    host, guest = list(secret.world.users.values())[:2]
    async with Person(secret, host, secret.lounge, e2ee="libdave") as staying:
        for visit in range(3):
            async with Person(secret, guest, secret.lounge, e2ee=library) as visitor:
                await one_group(secret, staying, visitor)
                await everybody_heard([staying, visitor], tone)
            resets = [said for said in secret.voice.sessions.log if said.op == Opcode.PREPARE_EPOCH]
            assert [(said.user_id, said.data["epoch"]) for said in resets] == [(host.id, 1)] * (visit + 1)
        delivery = secret.voice.delivery(secret.lounge)
        assert delivery is not None
        assert [epoch.number for epoch in delivery.epochs] == [1, 1, 1]


@pytest.mark.parametrize("op", [Opcode.ANNOUNCE_COMMIT, Opcode.WELCOME])
@pytest.mark.parametrize("library", ["libdave", "davey"])
async def test_whoever_cannot_follow_is_added_again(secret: "VoicePlace", tone: Tone, library: Library, op: Opcode) -> None:
    """A damaged commit or welcome is answered with op 31 and a new key package; remove and add bring the person back."""
    async with gathered(secret, "libdave", "davey") as people:
        delivery = secret.voice.delivery(secret.lounge)
        assert delivery is not None
        users = list(secret.world.users.values())
        async with Person(secret, users[2], secret.lounge, e2ee=library) as third:
            await one_group(secret, *people, third)
            # op 29 reaches those who are in the group, op 30 those who come
            victim = users[2] if op is Opcode.ANNOUNCE_COMMIT else users[3]
            delivery.faults.corrupt.append((victim.id, op))
            async with Person(secret, users[3], secret.lounge, e2ee=library) as fourth:
                everybody = [*people, third, fourth]
                await settled(secret, everybody)
                assert [user_id for user_id, _ in delivery.invalid] == [victim.id]
                await everybody_heard(everybody, tone)


@pytest.mark.parametrize("library", ["libdave", "davey"])
async def test_a_commit_missed_on_a_lost_connection_is_replayed(secret: "VoicePlace", tone: Tone, library: Library) -> None:
    """A person whose connection dies before the commit arrives gets it at the resume, and needs no new key package."""
    async with gathered(secret, library, "libdave") as people:
        slow = people[0]
        secret.voice.delay_control(slow.user.id, 0.5)
        users = list(secret.world.users.values())
        async with Person(secret, users[2], secret.lounge, e2ee="libdave") as third:
            delivery = secret.voice.delivery(secret.lounge)
            assert delivery is not None
            await third.wait_until(lambda: len(delivery.epochs) == 2)
            secret.voice.delay_control(slow.user.id, 0)
            secret.voice.reset_connection(slow.user.id)
            await one_group(secret, *people, third)
            await everybody_heard([*people, third], tone)
        packages = [said for said in secret.voice.sessions.log if said.op == Opcode.KEY_PACKAGE and said.user_id == slow.user.id]
        assert len(packages) == 1
        assert delivery.invalid == []
        participant = secret.voice.participant(slow.user.id)
        assert participant is not None
        assert participant.connections == 2


@pytest.mark.parametrize("slow", [None, 0, 1], ids=["even", "speaker-behind", "listener-behind"])
async def test_libdave_loses_no_frame_to_epochs(secret: "VoicePlace", tone: Tone, slow: int | None) -> None:
    """While two libdave people talk, a third comes and goes; every packet opens, also with one control channel 100 ms behind."""
    async with gathered(secret, "libdave", "libdave", "davey") as people:
        talkers = people[:2]
        if slow is not None:
            secret.voice.delay_control(talkers[slow].user.id, 0.1)
        talking = asyncio.gather(*(person.say(tone(1.0, 500)) for person in talkers))
        await people[2].leave()
        async with Person(secret, people[2].user, secret.lounge, e2ee="davey") as third:
            await third.wait_until_encrypted(*talkers)
        await talking
        for listener, speaker in (talkers, talkers[::-1]):
            await listener.wait_until(lambda: listener.heard.opus(speaker.user.id) == speaker.said.opus())  # noqa: B023  # awaited at once
            assert len(speaker.said.opus()) == 50
            assert listener.receiver.refused["end_to_end"] == 0
        delivery = secret.voice.delivery(secret.lounge)
        assert delivery is not None
        assert len(delivery.epochs) >= 4


async def test_a_call_follows_its_weakest_member(open_place: "OpenPlace", tone: Tone) -> None:
    """Where somebody without encryption is let in, the call speaks in the clear until they leave, and then not any more."""
    async with open_place(dave=True, require_dave=False) as place, gathered(place, "libdave", "davey") as people:
        async with Person(place, list(place.world.users.values())[2], place.lounge) as plain:
            for person in people:
                member = person.member
                assert member is not None
                await person.wait_until(lambda: member.version == 0 and member.settled)  # noqa: B023  # awaited at once
            await everybody_heard([*people, plain], tone)
        await settled(place, people)
        await everybody_heard(people, tone)
        passed = {packet.payload for packet in place.voice.relay.forwarded[people[1].user.id]}
        spoken = people[0].said.opus()
        assert set(spoken[:5]) <= passed
        assert not set(spoken[5:]) & passed


async def test_nothing_is_said_in_the_clear_before_there_is_a_group(secret: "VoicePlace", tone: Tone) -> None:
    """Whoever is alone in an encrypted call has no key, and sends nothing but silence packets."""
    async with Person(secret, secret.people[0], secret.lounge, e2ee="libdave") as alone:
        await alone.say(tone(0.06))
        assert alone.sender.unsent == 3
        assert alone.said.opus() == []


async def test_an_encrypted_call_sends_the_plain_away(secret: "VoicePlace") -> None:
    """By default an encrypted call closes whoever offers no encryption with 4017."""
    async with Person(secret, secret.people[0], secret.lounge, e2ee="libdave"):
        with pytest.raises(VoiceError, match="4017"):
            async with Person(secret, secret.people[1], secret.lounge):
                pass


async def test_a_stage_is_not_encrypted(secret: "VoicePlace", tone: Tone) -> None:
    """Where ordinary calls demand encryption, a stage lets everybody in, and everything on it is clear."""
    stage = secret.world.add_channel(secret.guild, "Stage", STAGE)
    async with (
        Person(secret, secret.people[0], stage.id) as plain,
        Person(secret, secret.people[1], stage.id, e2ee="libdave") as able,
    ):
        await everybody_heard([plain, able], tone)
        assert secret.voice.delivery(stage.id) is None
        assert able.member
        assert able.member.version == 0


async def test_a_forged_key_package_is_not_proposed(secret: "VoicePlace") -> None:
    """A key package in another's name, or with a broken signature, counts as rejected and changes nothing."""
    async with gathered(secret, "libdave", "davey") as people:
        delivery = secret.voice.delivery(secret.lounge)
        assert delivery is not None
        participant = secret.voice.participant(people[0].user.id)
        assert participant is not None
        package = next(
            said.data for said in secret.voice.sessions.log if said.op == Opcode.KEY_PACKAGE and said.user_id == people[1].user.id
        )
        before = list(delivery.epochs)
        for forged in (package, b"", package[:-1], bytes(300)):
            delivery.take_key_package(participant, forged)
        assert sum(delivery.rejected[reason] for reason in delivery.rejected if "key package" in reason or "too early" in reason) == 4
        assert delivery.epochs == before
        assert delivery.settled


async def test_keys_change_when_everybody_is_ready(secret: "VoicePlace") -> None:
    """A commit is announced, everybody reports ready, and only then everybody is told to change keys."""
    async with gathered(secret, "libdave", "davey"):
        steps = [said for said in secret.voice.sessions.log if said.op in (29, 30, 23, 22)]
        assert [said.op for said in steps] == [29, 30, 23, 23, 22, 22]
        numbers = [int.from_bytes(said.data[:2], "big") if said.op > 28 else said.data["transition_id"] for said in steps]
        assert numbers == [1] * 6


async def test_who_never_reports_ready_does_not_hold_up_the_rest(secret: "VoicePlace") -> None:
    """After the time-out the keys change without them."""
    delivery = secret.voice.delivery(secret.lounge)
    assert delivery is not None
    delivery.ready_timeout_s = 0.1
    users = list(secret.world.users.values())
    secret.voice.delay_control(users[1].id, 0.5)
    async with Person(secret, users[0], secret.lounge, e2ee="libdave") as prompt, Person(secret, users[1], secret.lounge, e2ee="libdave"):
        await prompt.wait_until(lambda: bool(prompt.member and prompt.member.settled and users[1].id in prompt.member.members))
        ready = [said.user_id for said in secret.voice.sessions.log if said.op == Opcode.TRANSITION_READY]
        assert ready == [users[0].id]
