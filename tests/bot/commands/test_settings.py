"""/settings, used on the loopback Discord by admins and by others: what holds, is saved, and is followed."""

from typing import Any

import pytest

from discordplex.bot import texts
from discordplex.config import BotConfig, PersonaConfig
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.personaplex.log import Connected, ConversationClosed
from tests.home import Home


async def settings(home: Home, action: str, **options: Any) -> Interaction:
    """What Ada, who owns the server, sets."""
    return await home.press(f"settings {action}", options)


async def test_only_admins_may(home: Home) -> None:
    """Discord offers the commands to who has Manage Server; whoever gets at them otherwise is refused."""
    async with home.bot_running():
        await home.commands_there()
        (group,) = [one for one in home.discord.world.commands[home.bot.id, None] if one["name"] == "settings"]
        assert int(group["default_member_permissions"]) == 1 << 5
        for action in ("show", "reset", "captions", "transcripts", "persona", "limits"):
            options = {"captions": {"where": "off"}, "transcripts": {"state": "on"}}.get(action, {})
            refused = await home.press(f"settings {action}", options, person=home.ben)
            assert refused.content == texts.waiting.ADMINS_ONLY
            assert refused.ephemeral
        assert "transcripts: off" in (await settings(home, "show")).content


async def test_captions_go_where_the_server_wants_them(home: Home) -> None:
    """Over the configuration: into a text channel, into a thread for each call, nowhere; the other server is not concerned."""
    other, general = home.discord.guilds[1], home.guild.text_channel
    async with home.bot_running():
        assert (await settings(home, "captions", where="channel")).content == texts.settings.CHANNEL_MISSING
        home.discord.deny(home.guild, general, home.bot, "send_messages")
        assert "I may not write in #general" in (await settings(home, "captions", where="channel", channel=general)).content
        home.discord.allow(home.guild, general, home.bot, "send_messages")
        home.discord.deny(home.guild, general, home.bot, "create_public_threads")
        assert "Create Public Threads" in (await settings(home, "captions", where="thread", channel=general)).content
        assert f"in <#{general.id}>" in (await settings(home, "captions", where="channel", channel=general)).content
        home.discord.enter(home.ada, home.lounge)
        await home.says(general, "Go ahead")
        assert home.texts(home.lounge) == []
        home.discord.leave(home.ada)
        await home.sits_in(None)
        assert "captions and notices: nowhere" in (await settings(home, "captions", where="off")).content
        written = len(home.texts(general))
        home.discord.enter(home.ada, home.lounge)
        await home.listens(2)
        home.discord.leave(home.ada)
        await home.sits_in(None)
        home.discord.enter(home.ben, other.voice_channels[0])
        await home.says(other.voice_channels[0], "Go ahead")
    assert home.texts(home.lounge) == []
    assert len(home.texts(general)) == written


async def test_the_servers_persona_is_the_default(home: Home) -> None:
    """For people without a choice of their own; given nothing it is the configuration's again; what the engine would refuse is refused."""
    async with home.bot_running():
        said = await settings(home, "persona", name="Bank", voice="NATM2.pt")
        assert "**NATM2.pt**" in said.content
        assert "has no voice" in (await settings(home, "persona", voice="X")).content
        assert "this server's choice" in (await home.press("persona show", person=home.ben)).content
        home.discord.enter(home.ben, home.lounge)
        await home.listens()
        assert PersonaConfig().voice in (await settings(home, "persona")).content
    assert [one.query["voice_prompt"] for one in home.engine.log.of(Connected)] == ["NATM2.pt"]


async def test_denied_channels_are_not_entered(home: Home) -> None:
    """Neither by itself nor with /join; allowed again, it comes."""
    async with home.bot_running():
        said = await settings(home, "channel", channel=home.lounge, rule="deny")
        assert f"but not <#{home.lounge.id}>" in said.content
        home.discord.enter(home.ada, home.lounge)
        refused = await home.press("join")
        assert "The admins of this server allow me in other channels only" in refused.content
        assert home.where is None
        said = await settings(home, "channel", channel=home.lounge, rule="neither")
        assert "channels: all" in said.content
        await home.press("join")
        await home.sits_in(home.lounge)
        await home.says(home.lounge, "Go ahead")
        await settings(home, "channel", channel=home.lounge, rule="deny")
        await home.sits_in(None)
        await home.says(home.lounge, "The call has ended")


async def test_denied_roles_do_not_call(home: Home) -> None:
    """Who has one may enter and ask; the bot comes for others."""
    role = next(role for role in home.guild.roles.values() if role.name == "Moderator")
    home.guild.members[home.ben.id].role_ids.append(role.id)
    async with home.bot_running(home.config(bot=BotConfig(auto_join=False))):
        assert f"but not <@&{role.id}>" in (await settings(home, "role", role=role, rule="deny")).content
        home.discord.enter(home.ben, home.lounge)
        assert "You cannot call me" in (await home.press("join", person=home.ben)).content
        home.discord.enter(home.ada, home.lounge)
        await home.press("join")
        await home.sits_in(home.lounge)


async def test_limits_and_reset(home: Home) -> None:
    """Minutes of silence and of a call, each for itself; and everything back."""
    async with home.bot_running(home.config(bot=BotConfig(idle_minutes=7))):
        assert "I leave when nobody speaks: after 7 min" in (await settings(home, "show")).content
        assert "a call ends when others wait: after 30 min" in (await settings(home, "limits", longest=30)).content
        both = (await settings(home, "limits", idle=0)).content
        assert "I leave when nobody speaks: never" in both
        assert "a call ends when others wait: after 30 min" in both
        back = (await settings(home, "reset")).content
        assert "I leave when nobody speaks: after 7 min" in back
        assert "a call ends when others wait: never" in back


async def test_a_server_that_throws_the_bot_out_leaves_nothing_stored(home: Home) -> None:
    """Neither its call nor its settings."""
    async with home.bot_running():
        await settings(home, "transcripts", state="on")
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        store, guild_id = home.store, int(home.guild.id)
        assert store
        assert (await store.guilds.get(guild_id)).transcripts
        home.discord.remove_member(home.bot, home.guild)
        await home.engine.log.wait_for(lambda log: log.of(ConversationClosed))
        while (await store.guilds.get(guild_id)).transcripts:
            pass  # each look is a turn of the loop, and of the database


async def test_transcripts(home: Home) -> None:
    """Switched on, the greeting says so, and what is said can be had as a file and deleted; /privacy tells everybody.

    A name makes no line of its own in the file, and turns none round.
    """
    home.guild.members[home.bot.id].nick = "Plex\u202e\n12:00:00 Ada"
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "nothing of it is kept")
        await home.listens()
        assert "transcripts: on" in (await settings(home, "transcripts", state="on")).content
        await home.says(home.lounge, "a transcript is kept")
        assert "a transcript is kept" in (await home.press("privacy", person=home.ben)).content
        home.engine.inject(b"\x02 Good morning.")
        await home.says(home.lounge, "Good morning.")
        home.discord.leave(home.ada)
        await home.sits_in(None)
        (call, *_) = [choice["value"] for choice in await complete_calls(home)]
        got = await settings(home, "transcript", call=call)
        assert got.reply
        (file,) = home.discord.files(got.reply)
        (line,) = file.content.decode().splitlines()
        assert line.endswith(" Plex 12:00:00 Ada: Good morning.")
        deleted = (await settings(home, "forget-transcripts")).content
        assert deleted == "1 line is deleted."
        assert await complete_calls(home) == []
        assert (await settings(home, "transcript", call=call)).content == texts.settings.NO_TRANSCRIPT


async def complete_calls(home: Home) -> list[dict[str, Any]]:
    return await home.discord.complete_slash(home.ada, home.guild, "settings transcript", {"call": ""}, focused="call")


@pytest.mark.parametrize("action", ["channel", "role"])
async def test_rules_need_their_target(home: Home, action: str) -> None:
    """Discord itself asks for it."""
    async with home.bot_running():
        with pytest.raises(LookupError, match=f"needs the option '{action}'"):
            await settings(home, action, rule="deny")
