"""Whatever becomes of an encrypted call's wire: afterwards the bot hears and is heard, and where Discord allows it nothing was lost."""

import asyncio
import functools
from collections.abc import Callable

import discord

from discordplex.loopback import timeouts
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.voice.events import Lost
from tests.voice.booth import SOAK, Booth, noise
from tests.voice.conftest import Scenario, SideBySide

encrypted_calls = functools.partial(VoiceGatewayServer, dave=True)

Break = Callable[[Booth], None]

TALK_FRAMES = 450 if SOAK else 60


def closing(code: int) -> Break:
    return lambda booth: booth.loopback.voice.close_connection(booth.bot_id, code)


def reset(booth: Booth) -> None:
    booth.loopback.voice.reset_connection(booth.bot_id)


async def both_ways(booth: Booth, ada: Person, *, seed: int, frames: int = 8) -> None:
    """Each says something that is new, and all of it arrives at the other, bit for bit."""
    ear, mouth = booth.ear.opus.setdefault(int(ada.user.id), []), booth.mouth.said
    heard, said, spoken, caught = len(ear), len(ada.said.opus()), len(mouth), len(ada.heard.opus(booth.bot_id))
    booth.mouth.say(noise(frames, seed=seed))
    await ada.say(noise(frames, channels=1, seed=-seed % 1000 + 1000))
    await booth.until(lambda: ear[heard:] == ada.said.opus()[said:])
    await ada.wait_until(lambda: len(mouth) == spoken + frames and ada.heard.opus(booth.bot_id)[caught:] == mouth[spoken:])


async def resumed(booth: Booth) -> None:
    """While both speak, the control channel is lost by 4015, 4000 and a TCP reset: one session, one stream, every packet both ways."""
    async with booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        ssrc = link.ssrc
        booth.mouth.say(noise(TALK_FRAMES))
        talking = asyncio.create_task(ada.say(noise(TALK_FRAMES, channels=1, seed=2)))
        for done, break_it in enumerate((closing(4015), closing(4000), reset)):
            await ada.wait_for_audio(booth.bot_id, TALK_FRAMES / 50 * (done + 0.5) / 3)
            break_it(booth)
            await booth.until(lambda: booth.restored == done + 1)  # noqa: B023 - awaited at once
        await talking
        await booth.hears(ada)
        await booth.is_heard_by(ada)
        assert link.ssrc == ssrc
        assert [event for event in booth.events if isinstance(event, Lost) and event.final] == []
        assert booth.counted("tx.dropped") == booth.counted("rx.lost") == 0
        await both_ways(booth, ada, seed=3)


async def entered_anew(booth: Booth) -> None:
    """After 4006, 4009 and 4004 the bot leaves and enters by itself, is told of it once each time, and joins the group as a newcomer."""
    async with booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        streams = {link.ssrc}
        for done, code in enumerate((4006, 4009, 4004)):
            booth.events.clear()
            closing(code)(booth)
            await booth.until(lambda: booth.restored == done + 1)  # noqa: B023 - awaited at once
            await booth.settled(2, ada)
            await both_ways(booth, ada, seed=code)
            streams.add(link.ssrc)
            losses = [event for event in booth.events if isinstance(event, Lost)]
            assert [(loss.code, loss.final) for loss in losses] == [(code, False)]
        assert len(streams) == 4
        assert link.people == {int(ada.user.id)}


async def drag(booth: Booth) -> None:
    await booth.loopback.move(booth.bot_id, booth.study)


async def walk(booth: Booth) -> None:
    study = booth.bot.get_channel(int(booth.study.id))
    assert isinstance(study, discord.VoiceChannel)
    await study.guild.change_voice_state(channel=study)


async def drag_after_a_pause(booth: Booth) -> None:
    """The voice server closes first (4014), and the main gateway tells why only when that has been seen."""
    closing(4014)(booth)
    await booth.loopback.wait_for(lambda: booth.loopback.voice.participant(booth.bot_id) is None)
    await timeouts.wait_for(lost(booth), 5)
    await drag(booth)


async def lost(booth: Booth) -> None:
    while not booth.counted("losses"):  # noqa: ASYNC110 - the close frame is on its way, and a counter wakes nobody
        await asyncio.sleep(0)


async def moved(booth: Booth, *, move: Scenario) -> None:
    """Dragged by a moderator (4014), with the news in either order, or going by itself: it joins the other group, and that is no loss."""
    async with booth.person(0, e2ee="libdave"), booth.person(1, booth.study, e2ee="davey") as ben:
        link = await booth.connect()
        await booth.settled(2)
        await move(booth)
        await booth.settled(2, ben, channel=booth.study)
        await both_ways(booth, ben, seed=1)
        await booth.until(lambda: link.people == {int(ben.user.id)})
        assert link.channel.id == int(booth.study.id)
        assert not [event for event in booth.events if isinstance(event, Lost)]


async def served_elsewhere(booth: Booth) -> None:
    """Discord takes the server away, naming none (endpoint null), and then names another: the call goes on there."""
    async with booth.person(e2ee="libdave") as ada:
        await booth.connect()
        await booth.settled(2, ada)
        booth.loopback.world.new_voice_server(booth.loopback.guilds[0].id, booth.bot_id)
        await booth.loopback.wait_for(lambda: booth.loopback.voice.participant(booth.bot_id))
        await booth.settled(2, ada)
        await both_ways(booth, ada, seed=1)
        assert not [event for event in booth.events if isinstance(event, Lost)]


async def test_after_each_the_bot_hears_and_is_heard(side_by_side: SideBySide) -> None:
    """Resumed, entered anew, moved by a moderator, moved by itself, served by another server: what each must keep, its scenario says."""
    moves = [functools.partial(moved, move=move) for move in (drag, drag_after_a_pause, walk)]
    await side_by_side(resumed, entered_anew, served_elsewhere, *moves, voice=encrypted_calls)
