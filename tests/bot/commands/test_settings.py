"""/settings, used on the loopback Discord by admins and by others: what holds, is saved, and is followed."""

from typing import Any

import pytest

from discordplex.bot import texts
from discordplex.config import BotConfig, PersonaConfig
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.personaplex.log import Connected, ConversationClosed
from tests.bot.street import Street


async def settings(street: Street, action: str, **options: Any) -> Interaction:
    """What Ada, who owns the server, sets."""
    return await street.press(f"settings {action}", options)


async def test_only_admins_may(street: Street) -> None:
    """Discord offers the commands to who has Manage Server; whoever gets at them otherwise is refused."""
    async with street.bot_running():
        await street.commands_there()
        (group,) = [one for one in street.discord.world.commands[street.bot.id, None] if one["name"] == "settings"]
        assert int(group["default_member_permissions"]) == 1 << 5
        for action in ("show", "reset", "captions", "transcripts", "persona", "limits"):
            options = {"captions": {"where": "off"}, "transcripts": {"state": "on"}}.get(action, {})
            refused = await street.press(f"settings {action}", options, person=street.ben)
            assert refused.content == texts.waiting.ADMINS_ONLY
            assert refused.ephemeral
        assert "transcripts: off" in (await settings(street, "show")).content


async def test_captions_go_where_the_server_wants_them(street: Street) -> None:
    """Over the configuration: into a text channel, into a thread for each call, nowhere; the other server is not concerned."""
    other, general = street.discord.guilds[1], street.guild.text_channel
    async with street.bot_running():
        assert (await settings(street, "captions", where="channel")).content == texts.settings.CHANNEL_MISSING
        street.discord.deny(street.guild, general, street.bot, "send_messages")
        assert "I may not write in #general" in (await settings(street, "captions", where="channel", channel=general)).content
        street.discord.allow(street.guild, general, street.bot, "send_messages")
        street.discord.deny(street.guild, general, street.bot, "create_public_threads")
        assert "Create Public Threads" in (await settings(street, "captions", where="thread", channel=general)).content
        assert f"in <#{general.id}>" in (await settings(street, "captions", where="channel", channel=general)).content
        street.discord.enter(street.ada, street.lounge)
        await street.says(general, "Go ahead")
        assert street.texts(street.lounge) == []
        street.discord.leave(street.ada)
        await street.sits_in(None)
        assert "captions and notices: nowhere" in (await settings(street, "captions", where="off")).content
        written = len(street.texts(general))
        street.discord.enter(street.ada, street.lounge)
        await street.listens(2)
        street.discord.leave(street.ada)
        await street.sits_in(None)
        street.discord.enter(street.ben, other.voice_channels[0])
        await street.says(other.voice_channels[0], "Go ahead")
    assert street.texts(street.lounge) == []
    assert len(street.texts(general)) == written


async def test_the_servers_persona_is_the_default(street: Street) -> None:
    """For people without a choice of their own; given nothing it is the configuration's again; what the engine would refuse is refused."""
    async with street.bot_running():
        said = await settings(street, "persona", name="Bank", voice="NATM2.pt")
        assert "**NATM2.pt**" in said.content
        assert "has no voice" in (await settings(street, "persona", voice="X")).content
        assert "this server's choice" in (await street.press("persona show", person=street.ben)).content
        street.discord.enter(street.ben, street.lounge)
        await street.listens()
        assert PersonaConfig().voice in (await settings(street, "persona")).content
    assert [one.query["voice_prompt"] for one in street.engine.log.of(Connected)] == ["NATM2.pt"]


async def test_denied_channels_are_not_entered(street: Street) -> None:
    """Neither by itself nor with /join; allowed again, it comes."""
    async with street.bot_running():
        said = await settings(street, "channel", channel=street.lounge, rule="deny")
        assert f"but not <#{street.lounge.id}>" in said.content
        street.discord.enter(street.ada, street.lounge)
        refused = await street.press("join")
        assert "The admins of this server want me in other channels" in refused.content
        assert street.where is None
        said = await settings(street, "channel", channel=street.lounge, rule="neither")
        assert "channels: all" in said.content
        await street.press("join")
        await street.sits_in(street.lounge)
        await street.says(street.lounge, "Go ahead")
        await settings(street, "channel", channel=street.lounge, rule="deny")
        await street.sits_in(None)
        await street.says(street.lounge, "The call has ended")


async def test_denied_roles_do_not_call(street: Street) -> None:
    """Who has one may enter and ask; the bot comes for others."""
    role = next(role for role in street.guild.roles.values() if role.name == "Moderator")
    street.guild.members[street.ben.id].role_ids.append(role.id)
    async with street.bot_running(street.config(bot=BotConfig(auto_join=False))):
        assert f"but not <@&{role.id}>" in (await settings(street, "role", role=role, rule="deny")).content
        street.discord.enter(street.ben, street.lounge)
        assert "You cannot call me" in (await street.press("join", person=street.ben)).content
        street.discord.enter(street.ada, street.lounge)
        await street.press("join")
        await street.sits_in(street.lounge)


async def test_limits_and_reset(street: Street) -> None:
    """Minutes of silence and of a call, each for itself; and everything back."""
    async with street.bot_running(street.config(bot=BotConfig(idle_minutes=7))):
        assert "when nobody speaks I leave: after 7 min" in (await settings(street, "show")).content
        assert "when others wait a call ends: after 30 min" in (await settings(street, "limits", longest=30)).content
        both = (await settings(street, "limits", idle=0)).content
        assert "I leave: never" in both
        assert "a call ends: after 30 min" in both
        back = (await settings(street, "reset")).content
        assert "I leave: after 7 min" in back
        assert "a call ends: never" in back


async def test_a_server_that_throws_the_bot_out_leaves_nothing_stored(street: Street) -> None:
    """Neither its call nor its settings."""
    async with street.bot_running():
        await settings(street, "transcripts", state="on")
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        store, guild_id = street.store, int(street.guild.id)
        assert store
        assert (await store.guilds.get(guild_id)).transcripts
        street.discord.expel(street.bot, street.guild)
        await street.engine.log.wait_for(lambda log: log.of(ConversationClosed))
        while (await store.guilds.get(guild_id)).transcripts:
            pass  # each look is a turn of the loop, and of the database


async def test_transcripts(street: Street) -> None:
    """Switched on, the greeting says so, and what is said can be had as a file and deleted; /privacy tells everybody.

    A name makes no line of its own in the file, and turns none round.
    """
    street.guild.members[street.bot.id].nick = "Plex\u202e\n12:00:00 Ada"
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "nothing of it is kept")
        await street.listens()
        assert "transcripts: on" in (await settings(street, "transcripts", state="on")).content
        await street.says(street.lounge, "a transcript is kept")
        assert "a transcript is kept" in (await street.press("privacy", person=street.ben)).content
        street.engine.inject(b"\x02 Good morning.")
        await street.says(street.lounge, "Good morning.")
        street.discord.leave(street.ada)
        await street.sits_in(None)
        (call, *_) = [choice["value"] for choice in await complete_calls(street)]
        got = await settings(street, "transcript", call=call)
        assert got.reply
        (file,) = street.discord.files(got.reply)
        (line,) = file.content.decode().splitlines()
        assert line.endswith(" Plex 12:00:00 Ada: Good morning.")
        deleted = (await settings(street, "forget-transcripts")).content
        assert deleted == "1 line is deleted."
        assert await complete_calls(street) == []
        assert (await settings(street, "transcript", call=call)).content == texts.settings.NO_TRANSCRIPT


async def complete_calls(street: Street) -> list[dict[str, Any]]:
    return await street.discord.complete_slash(street.ada, street.guild, "settings transcript", {"call": ""}, focused="call")


@pytest.mark.parametrize("action", ["channel", "role"])
async def test_rules_need_their_target(street: Street, action: str) -> None:
    """Discord itself asks for it."""
    async with street.bot_running():
        with pytest.raises(LookupError, match=f"needs the option '{action}'"):
            await settings(street, action, rule="deny")
