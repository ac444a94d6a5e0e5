"""VoiceConnection in encrypted calls: a real py-cord bot, people who speak through two implementations of DAVE, a delivery service."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest

from discordplex.loopback.discord.dave.delivery import Delivery
from discordplex.loopback.discord.model import Channel
from discordplex.loopback.discord.person import Person
from discordplex.loopback.discord.voice_gateway import VoiceGateway
from discordplex.voice.client import VoiceConnection
from discordplex.voice.incidents import Restored
from discordplex.voice.messages import Op
from tests.voice.booth import Booth, tone
from tests.voice.conftest import OpenBooth

SENTENCE = tone(0.2, channels=1)
FRAMES = 15
"""What a person sends for it: 10 frames, and the five frames of silence that end it."""

encrypted_calls = functools.partial(VoiceGateway, dave=True)


@pytest.fixture
async def booth(open_booth: OpenBooth) -> AsyncIterator[Booth]:
    async with open_booth(voice=encrypted_calls) as found:
        yield found


def person(booth: Booth, number: int = 0, *, e2ee: Literal["libdave", "davey"] = "libdave", channel: Channel | None = None) -> Person:
    return Person(booth.loopback, booth.loopback.people[number], (channel or booth.lounge).id, e2ee=e2ee)


def delivery_of(booth: Booth, channel: Channel | None = None) -> Delivery:
    found = booth.loopback.voice.delivery((channel or booth.lounge).id)
    assert found is not None
    return found


async def settled(booth: Booth, members: int, channel: Channel | None = None) -> None:
    """Everybody is in the group, and every transition is executed."""
    delivery = delivery_of(booth, channel)
    await booth.loopback.wait_for(lambda: delivery.settled and len(delivery.group.members) == members)


async def both_hear(booth: Booth, ada: Person) -> None:
    """A person says a sentence that arrives whole, and hears the bot."""
    if ada.member:
        await ada.wait_until_encrypted()
    frames, audible_s = booth.ear.frames(ada.user.id), ada.heard.audible_s(booth.bot_id)
    await ada.say(SENTENCE)
    await booth.until(lambda: booth.ear.frames(ada.user.id) == frames + FRAMES)
    booth.mouth.say(tone(0.2))
    await ada.wait_for_audio(booth.bot_id, audible_s + 0.2)


@asynccontextmanager
async def pair(booth: Booth, *, e2ee: Literal["libdave", "davey"] = "libdave") -> AsyncIterator[tuple[Person, VoiceConnection]]:
    async with person(booth, e2ee=e2ee) as ada:
        link = await booth.connect()
        await settled(booth, 2)
        await ada.wait_until_encrypted()
        yield ada, link


@pytest.mark.parametrize("e2ee", ["libdave", "davey"])
async def test_both_ways_encrypted(booth: Booth, e2ee: Literal["libdave", "davey"]) -> None:
    """With either implementation on the other side both hear each other whole and see the same privacy code; nothing is in the clear."""
    async with pair(booth, e2ee=e2ee) as (ada, link):
        await both_hear(booth, ada)
        assert ada.member is not None
        assert link.privacy_code == ada.member.privacy_code is not None
        assert booth.counted("rx.unopened") == booth.counted("rx.unencrypted") == booth.counted("tx.dropped") == 0
        await link.disconnect()
    assert booth.left_nothing()


async def test_people_come_and_go_while_everybody_talks(booth: Booth) -> None:
    """Through two epochs no frame is lost in either direction."""
    async with pair(booth) as (ada, _):
        booth.mouth.say(tone(1.0))
        saying = asyncio.create_task(ada.say(tone(1.0, channels=1)))
        async with person(booth, 1, e2ee="davey") as ben:
            await settled(booth, 3)
            await ben.wait_for_audio(booth.bot_id, 0.1)
        await settled(booth, 2)
        await saying
        await booth.until(lambda: booth.ear.frames(ada.user.id) == 55)
        await ada.wait_for_audio(booth.bot_id, 1.0)
        assert booth.counted("rx.lost") == booth.counted("tx.dropped") == 0
        assert len(delivery_of(booth).epochs) >= 3


async def test_a_slow_control_channel_costs_the_listeners_nothing(booth: Booth) -> None:
    """The others learn of each epoch 100 ms after the bot: it speaks with the old key until op 22, so they hear all of it."""
    async with pair(booth) as (ada, _):
        booth.loopback.voice.delay_control(ada.user.id, 0.1)
        booth.mouth.say(tone(1.0))
        async with person(booth, 1):
            await settled(booth, 3)
        await settled(booth, 2)
        await ada.wait_for_audio(booth.bot_id, 1.0)


async def test_a_visitor_may_come_twice(booth: Booth) -> None:
    """Alone the bot throws the group away; each visit makes a new one in which both are heard."""
    link = await booth.connect()
    codes = set()
    for _ in range(2):
        async with person(booth) as ada:
            await settled(booth, 2)
            await both_hear(booth, ada)
            codes.add(link.privacy_code)
        await booth.loopback.wait_for(lambda: not delivery_of(booth).group.founded)
        await booth.until(lambda: not link.people)
    assert len(codes) == 2


@pytest.mark.parametrize(("op", "others_first"), [(Op.MLS_WELCOME, True), (Op.MLS_ANNOUNCE_COMMIT, False)])
async def test_what_cannot_be_read_is_asked_for_again(booth: Booth, op: Op, others_first: bool) -> None:  # noqa: FBT001 - a table of values
    """A damaged welcome or commit is answered with op 31, and the bot is in the group again soon."""
    async with person(booth) as ada:
        if others_first:
            delivery_of(booth).faults.corrupt.append((booth.bot_id, op))
            await booth.connect()
        else:
            await booth.connect()
            await settled(booth, 2)
            delivery_of(booth).faults.corrupt.append((booth.bot_id, op))
        async with person(booth, 1):
            await settled(booth, 3)
            assert not delivery_of(booth).faults.corrupt or others_first
            await both_hear(booth, ada)


async def test_a_commit_that_was_missed_is_replayed(booth: Booth) -> None:
    """While the bot's control channel is lost somebody enters; the resume brings what was missed, and everybody is heard."""
    async with pair(booth) as (ada, _):
        booth.loopback.voice.close_connection(booth.bot_id, 4015)
        async with person(booth, 1) as ben:
            await booth.until(lambda: Restored() in booth.events)
            await settled(booth, 3)
            await both_hear(booth, ada)
            await both_hear(booth, ben)


async def test_a_new_session_joins_the_group_anew(booth: Booth) -> None:
    """After 4006 the bot is a newcomer to the group and both are heard again."""
    async with pair(booth) as (ada, _):
        booth.loopback.voice.close_connection(booth.bot_id, 4006)
        await booth.until(lambda: Restored() in booth.events)
        await settled(booth, 2)
        await both_hear(booth, ada)


async def test_a_moved_bot_joins_the_other_group(booth: Booth) -> None:
    """The group belongs to the channel: after a move the bot is in that one's."""
    async with person(booth, 1, channel=booth.study) as ben, pair(booth):
        await booth.loopback.move(booth.bot_id, booth.study)
        await settled(booth, 2, booth.study)
        await both_hear(booth, ben)


async def test_speakers_are_heard_before_they_are_named(booth: Booth) -> None:
    """Op 5 never comes; the key says whose the frames are, from the first one on."""
    booth.loopback.voice.delay_speaking(booth.ada.id, None)
    async with pair(booth) as (ada, _):
        await both_hear(booth, ada)
        assert booth.counted("rx.named_by_key") == 1


async def test_somebody_who_cannot_encrypt_takes_the_call_down_and_up_again(open_booth: OpenBooth) -> None:
    """With such a person in the call everything is clear, and encrypted again when they have gone."""
    async with open_booth(voice=functools.partial(VoiceGateway, dave=True, require_dave=False)) as booth, pair(booth) as (ada, link):
        async with booth.person(1) as ben:
            await both_hear(booth, ben)
            assert link.privacy_code is None
        await settled(booth, 2)
        await both_hear(booth, ada)
        assert link.privacy_code is not None
