"""Tests of discordplex.loopback.discord.gateway.sessions and what dispatches let whom see."""

import json
from typing import Any, cast

import pytest

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.gateway import dispatches
from discordplex.loopback.discord.gateway.sessions import BACKLOG_EVENTS, GatewaySession, Identity, Sessions
from discordplex.loopback.discord.world.model import Fact, Guild, User
from discordplex.loopback.discord.world.permissions import BITS
from discordplex.loopback.discord.world.world import World


def listening(world: World, user: User, intents: int = dispatches.ALL_INTENTS, shard: tuple[int, int] = (0, 1)) -> GatewaySession:
    session = GatewaySession("s", Identity(user, intents, shard))

    def hear(fact: Fact) -> None:
        for dispatch in dispatches.dispatches(fact, world):
            session.offer(dispatch, world.guilds.get(dispatch.guild_id or ""))

    world.subscribe(hear)
    return session


def events(session: GatewaySession) -> list[tuple[str, Any]]:
    return [((event := json.loads(text))["t"], event["d"]) for _, text in session.after(0)]


def test_what_is_kept_is_replayed_from_the_right_place(bot: User) -> None:
    """After number n come n+1 and the rest; what the bounded backlog has dropped cannot be replayed."""
    session = GatewaySession("s", Identity(bot, 0))
    for index in range(BACKLOG_EVENTS + 5):
        session.add("E", {"index": index})
    assert [seq for seq, _ in session.after(session.seq - 2)] == [session.seq - 1, session.seq]
    assert session.after(session.seq) == []
    assert session.can_replay(5)
    assert not session.can_replay(4)
    assert not session.can_replay(session.seq + 1)


def test_intents_decide_what_is_told(world: World, guild: Guild, bot: User) -> None:
    """Without an intent its events do not come; the own voice server comes without any."""
    session = listening(world, bot, intents=dispatches.GUILDS)
    world.voice_join(guild.owner_id, guild.id, guild.voice_channels[0].id)
    world.chat.post(guild.text_channel.id, guild.owner_id, {"content": "hello"})
    assert events(session) == []
    world.voice_join(bot.id, guild.id, guild.voice_channels[0].id, session_id="s")
    assert [name for name, _ in events(session)] == ["VOICE_SERVER_UPDATE"]


def test_the_voice_server_is_told_to_its_own_session_alone(world: World, guild: Guild, bot: User) -> None:
    """Everybody sees who enters, only the login that did so gets the token."""
    watcher = listening(world, bot)
    world.voice_join(guild.owner_id, guild.id, guild.voice_channels[0].id, session_id="another")
    assert [name for name, _ in events(watcher)] == ["VOICE_STATE_UPDATE"]


def test_content_is_for_those_with_the_intent(world: World, guild: Guild, bot: User) -> None:
    """Without the message content intent a bot reads what mentions it and what it wrote, and nothing else."""
    session = listening(world, bot, intents=dispatches.ALL_INTENTS & ~dispatches.MESSAGE_CONTENT)
    for author, content in ((guild.owner_id, "secret"), (guild.owner_id, f"hey <@{bot.id}>"), (bot.id, "mine")):
        world.chat.post(guild.text_channel.id, author, {"content": content})
    assert [payload["content"] for _, payload in events(session)] == ["", f"hey <@{bot.id}>", "mine"]


def test_a_hidden_channel_is_silent(world: World, guild: Guild, bot: User) -> None:
    """Messages of a channel that one may not see do not come."""
    world.overwrite(guild.text_channel, guild.id, deny=BITS["view_channel"])
    session = listening(world, bot)
    message = world.chat.post(guild.text_channel.id, guild.owner_id, {"content": "hidden"})
    world.chat.delete(message)
    assert events(session) == []


def test_a_change_of_roles_is_told_to_the_member_and_to_who_may_see_members(world: World, guild: Guild, bot: User) -> None:
    """One's own comes without the intent, another's only with it; a role's change comes to all."""
    role = world.add_role(guild.id, "role", 0)
    seeing, blind = listening(world, bot), listening(world, bot, intents=dispatches.GUILDS)
    world.give_roles(guild.id, bot.id, [role.id])
    world.give_roles(guild.id, guild.owner_id, [role.id])
    world.set_role(guild.id, role.id, BITS["speak"])
    own, other, changed = events(seeing)
    assert [name for name, _ in (own, other, changed)] == ["GUILD_MEMBER_UPDATE", "GUILD_MEMBER_UPDATE", "GUILD_ROLE_UPDATE"]
    assert events(blind) == [own, changed]
    assert (own[1]["user"]["id"], own[1]["roles"], other[1]["user"]["id"]) == (bot.id, [role.id], guild.owner_id)
    assert changed[1]["role"]["permissions"] == str(BITS["speak"])


def test_a_shard_hears_of_its_guilds_alone(world: World, bot: User) -> None:
    """Of two shards each is told what happens in the guilds that the documented formula gives it."""
    sessions = [listening(world, bot, shard=(index, 2)) for index in range(2)]
    for guild in world.guilds.values():
        world.touch(guild.text_channel)
    heard = [{payload["guild_id"] for _, payload in events(session)} for session in sessions]
    assert heard[0] | heard[1] == set(world.guilds)
    assert not heard[0] & heard[1]
    assert all((int(guild_id) >> 22) % 2 == index for index in range(2) for guild_id in heard[index])


@pytest.mark.parametrize(("max_concurrency", "let_in"), [(1, [True, False, False, False]), (2, [True, True, False, False])])
async def test_logins_of_shards_are_spaced(world: World, bot: User, max_concurrency: int, let_in: list[bool]) -> None:
    """So many within five seconds; the next ones are let in later. One connection alone is never too early."""
    sessions = Sessions(world, heartbeat_ms=1000, privileged_intents=True, shards=4, max_concurrency=max_concurrency)
    shards = [Identity(bot, 0, (number, 4)) for number in range(4)]
    assert [sessions.may_log_in(shard) for shard in shards] == let_in
    clock = cast("FakeClock", world.clock)
    await clock.advance(4.9)
    assert not sessions.may_log_in(shards[-1])
    await clock.advance(0.2)
    assert sessions.may_log_in(shards[-1])
    assert all(sessions.may_log_in(Identity(bot, 0)) for _ in range(3))


def test_what_is_advised(world: World, bot: User) -> None:
    """As many shards as were asked for, and the logins that are left for today."""
    sessions = Sessions(world, heartbeat_ms=1000, privileged_intents=True, shards=4, max_concurrency=2)
    sessions.log_in(Identity(bot, 0, (0, 4)), [0, 4])
    limit = {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 2}
    assert sessions.advice() == {"shards": 4, "session_start_limit": limit}


def test_the_guild_shows_whom_the_intents_allow(world: World, guild: Guild, bot: User) -> None:
    """Without the members intent GUILD_CREATE holds oneself and the people in voice; without voice states not even those."""
    world.voice_join(guild.owner_id, guild.id, guild.voice_channels[0].id)
    shown = {}
    for intents in (dispatches.GUILDS, dispatches.GUILDS | dispatches.GUILD_VOICE_STATES, dispatches.ALL_INTENTS):
        payload = dispatches.guild_create(world, guild, user_id=bot.id, intents=intents)
        shown[intents] = {member["user"]["id"] for member in payload["members"]}
    assert list(shown.values()) == [{bot.id}, {bot.id, guild.owner_id}, set(world.users)]
