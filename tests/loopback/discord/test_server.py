"""Tests of discordplex.loopback.discord.server and acts."""

import asyncio
from pathlib import Path

import pytest

from discordplex.errors import ConfigError, VoiceError
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord


async def test_ready_tells_a_client_everything(tmp_path: Path) -> None:
    """`ready()` has the promised keys, every id is a string, and the CA lies where it was asked for."""
    async with LoopbackDiscord(dir=tmp_path) as loopback:
        ready = loopback.ready()
        assert ready["api_url"] == f"https://127.0.0.1:{loopback.port}/api"
        assert all(set(user) == {"id", "name", "bot", "token"} for user in ready["users"])
        assert all(set(guild) == {"id", "name", "text_channel_id", "voice_channel_ids"} for guild in ready["guilds"])
        assert all(len(guild["voice_channel_ids"]) == 2 for guild in ready["guilds"])
        assert all(isinstance(value, str) for guild in ready["guilds"] for value in (guild["id"], *guild["voice_channel_ids"]))
        assert loopback.ca_file == tmp_path / "ca.pem"
        assert loopback.ca_file.is_file()


async def test_a_taken_port_is_told_in_words() -> None:
    """A second loopback on the same port fails with a sentence, and leaves nothing open."""
    async with LoopbackDiscord() as loopback:
        with pytest.raises(ConfigError, match=f"Port {loopback.port} of 127.0.0.1 cannot be opened"):
            async with LoopbackDiscord(loopback.port):
                pass


async def test_waiting_wakes_on_a_change() -> None:
    """`wait_for` gives what the predicate found as soon as the world changes, and a TimeoutError where it never does."""
    async with LoopbackDiscord() as loopback:
        ada, lounge = loopback.people[0], loopback.guilds[0].voice_channels[0]
        waiting = asyncio.create_task(loopback.wait_for(lambda: loopback.voice_state(ada)))
        await asyncio.sleep(0)
        loopback.enter(ada.id, int(lounge.id))
        assert (await waiting) == loopback.voice_state(ada)
        with pytest.raises(TimeoutError):
            await loopback.wait_for(lambda: False, timeout_s=0.01)


async def test_people_come_and_go() -> None:
    """Entering, being moved, being disconnected; what is not possible is an error or nothing, as on Discord."""
    async with LoopbackDiscord() as loopback:
        cleo, guild = loopback.people[2], loopback.guilds[0]
        lounge, study = guild.voice_channels
        with pytest.raises(LookupError):
            await loopback.move(cleo, study)
        with pytest.raises(LookupError):
            loopback.enter(cleo, "1")
        loopback.leave(cleo)
        loopback.deny(guild, lounge, guild, "connect")
        assert loopback.enter(cleo, lounge) is None
        loopback.allow(guild, lounge, cleo, "connect")
        assert loopback.enter(cleo, lounge)
        await loopback.move(cleo, study)
        assert loopback.world.users_in(study.id) == [cleo.id]
        loopback.kick_from_voice(cleo)
        assert loopback.voice_state(cleo) is None


async def test_calls_are_encrypted_unless_somebody_cannot() -> None:
    """By default everybody is let in, and where all can encrypt they do; where encryption is required, others are refused."""
    async with LoopbackDiscord() as loopback:
        lounge = loopback.guilds[0].voice_channels[0].id
        async with Person(loopback, loopback.people[0], lounge, e2ee="libdave") as ada:
            assert ada.member
            assert ada.member.version
            async with Person(loopback, loopback.people[1], lounge):
                await ada.wait_until(lambda: not (ada.member and ada.member.version))
    async with LoopbackDiscord(require_dave=True) as loopback:
        with pytest.raises(VoiceError, match="4017"):
            async with Person(loopback, loopback.people[1], loopback.guilds[0].voice_channels[0].id):
                pass
