"""The DAVE delivery service with people alone: two independent implementations in one call, and no bot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Literal

import pytest

from discordplex.loopback.discord.model import User
from discordplex.loopback.discord.person import Person
from discordplex.loopback.discord.voice_messages import Op

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
