"""Many at once, one alone, one at a time: the group of an encrypted call, whoever comes and goes."""

import asyncio
import functools

import pytest

from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.voice.connection import VoiceConnection
from discordplex.voice.gateway.messages import Op
from tests.voice.booth import Booth, Library, noise
from tests.voice.conftest import OpenBooth

encrypted_calls = functools.partial(VoiceGatewayServer, dave=True)
A_FEW = 4


def crowd(booth: Booth, size: int) -> list[Person]:
    """People of both kinds."""
    world, guild = booth.loopback.world, booth.loopback.guilds[0]
    users = [world.add_user(f"Guest {number}", bot=False) for number in range(size)]
    for user in users:
        world.add_member(guild.id, user.id)
    libraries: list[Library] = ["libdave", "davey"]
    return [Person(booth.loopback, user, booth.lounge.id, e2ee=libraries[number % 2]) for number, user in enumerate(users)]


async def one_call(booth: Booth, link: VoiceConnection, people: list[Person]) -> None:
    """All are in one group with one code; the bot hears each of them whole, and each of them the bot."""
    await booth.settled(len(people) + 1, *people)
    for person in people:
        member = person.member
        assert member
        await person.wait_until(lambda: member.privacy_code == link.privacy_code)  # noqa: B023 - awaited at once
    heard = {person: len(person.heard.opus(booth.bot_id)) for person in people}
    said = len(booth.mouth.said)
    booth.mouth.say(noise(A_FEW, seed=len(people)))
    await asyncio.gather(*(person.say(noise(A_FEW, channels=1, seed=number)) for number, person in enumerate(people)))
    await booth.hears(*people)
    for person in people:
        start = heard[person]
        await person.wait_until(
            lambda: booth.mouth.finished and person.heard.opus(booth.bot_id)[start:] == booth.mouth.said[said:]  # noqa: B023 - the same
        )


async def test_nine_come_at_once_and_five_go_at_once(open_booth: OpenBooth) -> None:
    """One group with one code both times; everybody who is there is heard whole, and hears."""
    async with open_booth(voice=encrypted_calls) as booth:
        link = await booth.connect()
        people = crowd(booth, 9)
        try:
            await asyncio.gather(*(person.__aenter__() for person in people))
            await one_call(booth, link, people)
            await asyncio.gather(*(person.leave() for person in people[:5]))
            await one_call(booth, link, people[5:])
            assert booth.counted("rx.lost") == 0
        finally:
            await asyncio.gather(*(person.leave() for person in people))


async def test_a_visitor_may_come_three_times(open_booth: OpenBooth) -> None:
    """Alone the bot throws the group away; each visit makes a new one, with another code, in which both are heard whole."""
    async with open_booth(voice=encrypted_calls) as booth:
        link = await booth.connect()
        codes = set()
        for library in ("libdave", "davey", "libdave"):
            async with booth.person(e2ee=library) as ada:
                booth.ear.opus.clear()
                await one_call(booth, link, [ada])
                codes.add(link.privacy_code)
            await booth.loopback.wait_for(lambda: not booth.delivery().group.founded)
            await booth.until(lambda: not link.people)
        assert len(codes) == 3


async def test_a_commit_that_was_missed_is_replayed(open_booth: OpenBooth) -> None:
    """While the bot's control channel is lost somebody enters; the resume brings what was missed, and nobody is added again."""
    async with open_booth(voice=encrypted_calls) as booth, booth.person(0, e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        booth.loopback.voice.close_connection(booth.bot_id, 4015)
        async with booth.person(1, e2ee="davey") as ben:
            await booth.until(lambda: booth.restored > 0)
            await one_call(booth, link, [ada, ben])
        assert booth.delivery().invalid == []


@pytest.mark.parametrize(("op", "bot_first"), [(Op.MLS_WELCOME, False), (Op.MLS_ANNOUNCE_COMMIT, True)])
async def test_what_cannot_be_read_is_asked_for_again(open_booth: OpenBooth, op: Op, bot_first: bool) -> None:  # noqa: FBT001 - a table
    """A damaged welcome or commit is answered with op 31, once; the bot is in the group again, and everybody is heard whole."""
    async with open_booth(voice=encrypted_calls) as booth, booth.person(0, e2ee="libdave") as ada:
        if bot_first:
            await booth.connect()
            await booth.settled(2, ada)
        booth.delivery().faults.corrupt.append((booth.bot_id, op))
        async with booth.person(1, e2ee="davey") as ben:
            link = await booth.connect() if not bot_first else next(iter(booth.bot.voice_clients))
            assert isinstance(link, VoiceConnection)
            await one_call(booth, link, [ada, ben])
        assert [user_id for user_id, _ in booth.delivery().invalid] == [booth.bot_id]
        assert booth.delivery().faults.corrupt == []


@pytest.mark.parametrize("delay_s", [1.0, None])
async def test_speakers_are_heard_before_they_are_named(open_booth: OpenBooth, delay_s: float | None) -> None:
    """Op 5 comes a second late, or never: the key says whose each packet is, from the first one on."""
    async with open_booth(voice=encrypted_calls) as booth, booth.person(0, e2ee="libdave") as ada, booth.person(1, e2ee="davey") as ben:
        for person in (ada, ben):
            booth.loopback.voice.delay_speaking(person.user.id, delay_s)
        link = await booth.connect()
        await one_call(booth, link, [ada, ben])
        assert booth.counted("rx.named_by_key") == 2


async def test_somebody_who_cannot_encrypt_takes_the_call_down_and_up_again(open_booth: OpenBooth) -> None:
    """With such a person in the call everything is clear, and encrypted again when they have gone; everybody is heard whole each time."""
    calls = functools.partial(VoiceGatewayServer, dave=True, require_dave=False)
    async with open_booth(voice=calls) as booth, booth.person(0, e2ee="libdave") as ada:
        link = await booth.connect()
        await one_call(booth, link, [ada])
        async with booth.person(1) as ben:
            await asyncio.gather(ben.say(noise(2 * A_FEW, channels=1)), ada.say(noise(2 * A_FEW, channels=1, seed=2)))
            await booth.hears(ada, ben)
            assert link.privacy_code is None
            booth.mouth.say(noise(A_FEW, seed=3))
            await ben.wait_until(lambda: booth.mouth.finished and ben.heard.opus(booth.bot_id) == booth.mouth.said[A_FEW:])
        await one_call(booth, link, [ada])
        assert link.privacy_code is not None
