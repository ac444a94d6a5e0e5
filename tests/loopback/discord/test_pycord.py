"""The loopback as py-cord sees it: a real `discord.Bot` logs in, and nothing tells it that this is not Discord."""

import asyncio

import discord
import pytest

from discordplex.loopback import timeouts
from discordplex.loopback.discord.rest.rate_limits import BucketLimit
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.world.model import Channel
from tests.loopback.discord.clients import bot_for, logged_in


def place_of(state: discord.VoiceState) -> str | None:
    return None if state.channel is None else str(state.channel)


def voice_channel(bot: discord.Bot, channel: Channel) -> discord.VoiceChannel:
    found = bot.get_channel(int(channel.id))
    assert isinstance(found, discord.VoiceChannel)
    return found


async def test_the_caches_are_right_after_login(loopback: LoopbackDiscord) -> None:
    """A bot finds both guilds with their channels, itself as a member, and who sits in voice."""
    ada, lounge = loopback.people[0], loopback.guilds[0].voice_channels[0]
    loopback.enter(ada, lounge)
    async with logged_in(loopback, loopback.bots[0]) as bot:
        assert bot.user
        assert (bot.user.bot, str(bot.user.id)) == (True, loopback.bots[0].id)
        assert {guild.name for guild in bot.guilds} == {guild.name for guild in loopback.guilds}
        guild = bot.get_guild(int(loopback.guilds[0].id))
        assert guild
        assert guild.me.id == bot.user.id
        assert [channel.name for channel in guild.text_channels] == ["general"]
        assert len(guild.voice_channels) == 2
        assert list(guild.voice_channels[0].voice_states) == [int(ada.id)]
        assert guild.me.guild_permissions.connect
        assert not guild.me.guild_permissions.administrator
    assert not loopback.unknown_routes


async def test_voice_states_arrive_with_the_person(loopback: LoopbackDiscord) -> None:
    """Entering, moving and leaving reach the bot as member updates, of a person and not of a bot."""
    ada, (lounge, study) = loopback.people[0], loopback.guilds[0].voice_channels
    async with logged_in(loopback, loopback.bots[0]) as bot:
        # One at a time: py-cord's `after` is its own live state, so it already shows what came later.
        next_move = asyncio.create_task(bot.wait_for("voice_state_update", timeout=5))
        await asyncio.sleep(0)
        loopback.enter(ada, lounge)
        member, before, after = await next_move
        assert (member.display_name, member.bot) == ("Ada", False)
        assert (place_of(before), place_of(after)) == (None, "Lounge")
        next_move = asyncio.create_task(bot.wait_for("voice_state_update", timeout=5))
        await asyncio.sleep(0)
        await loopback.move(ada, study)
        _, before, after = await next_move
        assert (place_of(before), place_of(after)) == ("Lounge", "Study")
        next_move = asyncio.create_task(bot.wait_for("voice_state_update", timeout=5))
        await asyncio.sleep(0)
        loopback.leave(ada)
        _, before, after = await next_move
        assert (place_of(before), place_of(after)) == ("Study", None)


async def test_the_bots_own_voice_state(loopback: LoopbackDiscord) -> None:
    """Op 4 brings the bot a voice state and a voice server; into a channel that is closed to it, nothing at all."""
    lounge, study = loopback.guilds[0].voice_channels
    user = loopback.bots[0]
    async with logged_in(loopback, user) as bot:
        guild = bot.get_guild(int(loopback.guilds[0].id))
        assert guild
        server = bot.ws.wait_for("VOICE_SERVER_UPDATE", lambda _: True)
        state = bot.ws.wait_for("VOICE_STATE_UPDATE", lambda _: True)
        await guild.change_voice_state(channel=voice_channel(bot, lounge))
        told, seen = await timeouts.wait_for(server, 5), await timeouts.wait_for(state, 5)
        session = loopback.world.voice_sessions[loopback.guilds[0].id, user.id]
        assert told == {"token": session.token, "guild_id": loopback.guilds[0].id, "endpoint": f"127.0.0.1:{loopback.port}"}
        assert seen["session_id"] == session.session_id == bot.ws.session_id
        loopback.deny(loopback.guilds[0], study, user, "connect")
        await guild.change_voice_state(channel=voice_channel(bot, study))
        await guild.change_voice_state(channel=voice_channel(bot, lounge), self_mute=True)
        await loopback.wait_for(lambda: (found := loopback.voice_state(user)) and found.self_mute)
        found = loopback.voice_state(user)
        assert found
        assert found.channel_id == lounge.id
    await loopback.wait_for(lambda: not loopback.voice_state(user))


async def test_messages_are_sent_edited_deleted(loopback: LoopbackDiscord) -> None:
    """A message has its history: what it said, when it was edited, that it was deleted; the voice channel has a chat too."""
    lounge = loopback.guilds[0].voice_channels[0]
    async with logged_in(loopback, loopback.bots[0]) as bot:
        channel = voice_channel(bot, lounge)
        message = await channel.send("one")
        await message.edit(content="two")
        await channel.trigger_typing()
        assert [found.content async for found in channel.history()] == ["two"]
        await message.delete()
        assert [found async for found in channel.history()] == []
    (kept,) = loopback.messages(lounge)
    assert [revision.content for revision in kept.revisions] == ["one", "two"]
    assert kept.deleted_at_s is not None
    assert not loopback.unknown_routes


async def test_a_message_too_long_is_refused(loopback: LoopbackDiscord) -> None:
    """2,000 characters pass, one more is a 400 that names the field."""
    async with logged_in(loopback, loopback.bots[0]) as bot:
        channel = bot.get_channel(int(loopback.guilds[0].text_channel.id))
        assert isinstance(channel, discord.TextChannel)
        await channel.send("x" * 2000)
        with pytest.raises(discord.HTTPException, match="Must be 2000 or fewer") as refused:
            await channel.send("x" * 2001)
    assert (refused.value.status, refused.value.code) == (400, 50035)


async def test_missing_permissions_have_their_codes(loopback: LoopbackDiscord) -> None:
    """No right to write is 50013; no right to see, or to enter a voice channel whose chat it is, is 50001."""
    guild, user = loopback.guilds[0], loopback.bots[0]
    async with logged_in(loopback, user) as bot:
        text, voice = bot.get_channel(int(guild.text_channel.id)), bot.get_channel(int(guild.voice_channels[0].id))
        assert isinstance(text, discord.TextChannel)
        assert isinstance(voice, discord.VoiceChannel)
        for channel, permission, code in ((text, "send_messages", 50013), (text, "view_channel", 50001), (voice, "connect", 50001)):
            loopback.deny(guild, channel, user, permission)
            with pytest.raises(discord.Forbidden) as refused:
                await channel.send("may I?")
            assert refused.value.code == code


async def test_the_rate_limit_is_obeyed() -> None:
    """Six writes where five are allowed: py-cord waits as the 429 says, and all six arrive."""
    async with LoopbackDiscord(writes=BucketLimit(5, 0.4)) as loopback, logged_in(loopback, loopback.bots[0]) as bot:
        place = loopback.guilds[0].text_channel
        channel = bot.get_channel(int(place.id))
        assert isinstance(channel, discord.TextChannel)
        message = await channel.send("0")
        for index in range(1, 6):
            await message.edit(content=str(index))
        (kept,) = loopback.messages(place)
        assert [revision.content for revision in kept.revisions] == list("012345")
        assert kept.revisions[5].at_s - kept.revisions[0].at_s >= 0.4


async def test_a_wrong_token_is_a_login_failure(loopback: LoopbackDiscord) -> None:
    """What py-cord makes of the 401 is its LoginFailure."""
    bot = bot_for(loopback)
    with pytest.raises(discord.LoginFailure):
        await bot.start("MTIz.wrong.token")
    await bot.close()


@pytest.mark.parametrize("code", [None, 4000])
async def test_a_dropped_gateway_is_resumed(loopback: LoopbackDiscord, code: int | None) -> None:
    """After a TCP reset or a close code the bot resumes, and what happened meanwhile is told once, in order."""
    seen: asyncio.Queue[tuple[str, str | None]] = asyncio.Queue()

    def set_up(bot: discord.Bot) -> None:
        @bot.event
        async def on_voice_state_update(member: discord.Member, _: discord.VoiceState, after: discord.VoiceState) -> None:
            seen.put_nowait((member.display_name, place_of(after)))

    (ada, ben), user, (lounge, study) = loopback.people[:2], loopback.bots[0], loopback.guilds[0].voice_channels
    async with logged_in(loopback, user, set_up) as bot:
        resumed = asyncio.create_task(bot.wait_for("resumed", timeout=10))
        lost = bot.ws.socket
        assert await loopback.gateway.drop(user.id, code=code) == 1
        await loopback.wait_for(lambda: not loopback.gateway.online(user.id))
        loopback.enter(ada, lounge)
        loopback.enter(ben, study)
        await resumed
        assert [await timeouts.wait_for(seen.get(), 5) for _ in range(2)] == [("Ada", "Lounge"), ("Ben", "Study")]
        assert seen.empty()
        assert len(list(loopback.gateway.sessions)) == 1
        await lost.close()  # py-cord drops a socket that the server has closed without closing it


async def test_privileged_intents_may_be_refused() -> None:
    """Where an application is not allowed the members intent, asking for it ends with py-cord's own error for that."""
    async with LoopbackDiscord(privileged_intents=False) as loopback:
        bot = bot_for(loopback, intents=discord.Intents.all())
        with pytest.raises(discord.PrivilegedIntentsRequired):
            await bot.start(loopback.bots[0].token)
        await bot.close()


async def test_members_can_be_asked_for(loopback: LoopbackDiscord) -> None:
    """With the members intent everybody is in the cache; without, a query still finds them by name."""
    async with logged_in(loopback, loopback.bots[0]) as bot:
        guild = bot.get_guild(int(loopback.guilds[0].id))
        assert guild
        assert [member.id for member in guild.members] == [int(loopback.bots[0].id)]
        assert [member.display_name for member in await guild.query_members("be")] == ["Ben"]
    async with logged_in(loopback, loopback.bots[1], intents=discord.Intents.all()) as bot:
        guild = bot.get_guild(int(loopback.guilds[0].id))
        assert guild
        assert len(guild.members) == 8
