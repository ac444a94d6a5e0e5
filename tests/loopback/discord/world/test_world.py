"""Tests of discordplex.loopback.discord.world.world: the rules of voice."""

import pytest

from discordplex.loopback.discord.world.model import (
    Fact,
    Guild,
    User,
    VoiceServerGone,
    VoiceSessionEnded,
    VoiceSessionStarted,
    VoiceStateChanged,
)
from discordplex.loopback.discord.world.permissions import BITS
from discordplex.loopback.discord.world.world import World


@pytest.fixture
def told(world: World) -> list[Fact]:
    facts: list[Fact] = []
    world.subscribe(facts.append)
    return facts


def test_entering_gives_a_session(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """Who enters is shown in the channel and holds a session that all four of its parts identify."""
    lounge = guild.voice_channels[0]
    session = world.voice_join(bot.id, guild.id, lounge.id, session_id="s")
    assert session
    assert world.users_in(lounge.id) == [bot.id]
    assert [type(fact) for fact in told] == [VoiceStateChanged, VoiceSessionStarted]
    right = {"server_id": guild.id, "user_id": bot.id, "session_id": "s", "token": session.token}
    assert world.find_voice_session(**right) is session
    for key in right:
        assert world.find_voice_session(**(right | {key: "wrong"})) is None


def test_muting_oneself_keeps_the_session(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """The same channel and session again only changes the flags."""
    lounge = guild.voice_channels[0]
    session = world.voice_join(bot.id, guild.id, lounge.id, session_id="s")
    told.clear()
    assert world.voice_join(bot.id, guild.id, lounge.id, session_id="s", self_deaf=True) is session
    (fact,) = told
    assert isinstance(fact, VoiceStateChanged)
    assert fact.after.self_deaf


def test_a_session_that_is_gone_is_replaced(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """Once the voice server has revoked a session, the same channel again gives another one."""
    lounge = guild.voice_channels[0]
    old = world.voice_join(bot.id, guild.id, lounge.id, session_id="s")
    assert old
    world.revoked_tokens.add(old.token)
    told.clear()
    new = world.voice_join(bot.id, guild.id, lounge.id, session_id="s")
    assert new
    assert new.token != old.token
    assert [type(fact) for fact in told] == [VoiceSessionEnded, VoiceStateChanged, VoiceSessionStarted]
    assert world.voice_join(bot.id, guild.id, lounge.id, session_id="s") is new


def test_a_new_login_takes_the_place_over(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """The same channel with another gateway session ends the old voice session and starts a new one."""
    lounge = guild.voice_channels[0]
    old = world.voice_join(bot.id, guild.id, lounge.id, session_id="s")
    told.clear()
    new = world.voice_join(bot.id, guild.id, lounge.id, session_id="t")
    assert old
    assert new
    assert new.token != old.token
    assert told[0] == VoiceSessionEnded(old, "left")
    assert told[-1] == VoiceSessionStarted(new)
    assert world.users_in(lounge.id) == [bot.id]


def test_moving_oneself_and_being_moved(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """Both end the session and give another of the same login; the cause tells whose will it was."""
    lounge, study = guild.voice_channels
    first = world.voice_join(bot.id, guild.id, lounge.id, session_id="s")
    second = world.voice_join(bot.id, guild.id, study.id, session_id="s")
    third = world.voice_move(bot.id, lounge.id)
    assert first
    assert second
    assert third
    assert [fact for fact in told if isinstance(fact, VoiceSessionEnded)] == [
        VoiceSessionEnded(first, "left"),
        VoiceSessionEnded(second, "moved"),
    ]
    assert {first.session_id, second.session_id, third.session_id} == {"s"}
    assert len({first.token, second.token, third.token}) == 3
    assert world.users_in(study.id) == []


def test_leaving_and_being_kicked(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """Both leave no session and no state; a second time nothing happens."""
    lounge = guild.voice_channels[0]
    world.voice_join(bot.id, guild.id, lounge.id)
    world.voice_leave(bot.id, guild.id)
    session = world.voice_join(bot.id, guild.id, lounge.id)
    told.clear()
    world.voice_kick(bot.id)
    assert session
    assert told[0] == VoiceSessionEnded(session, "kicked")
    assert isinstance(told[1], VoiceStateChanged)
    assert told[1].after.channel_id is None
    assert not world.voice_states
    assert not world.voice_sessions
    told.clear()
    world.voice_leave(bot.id, guild.id)
    world.voice_kick(bot.id)
    assert world.voice_move(bot.id, lounge.id) is None
    assert not told


def test_closed_and_full_channels_are_silent(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """Without the permission, without a free place, or where no voice channel is, nothing happens and nothing is told."""
    lounge, study = guild.voice_channels
    world.overwrite(lounge, bot.id, deny=BITS["connect"])
    study.user_limit = 1
    people = [user for user in world.users.values() if not user.bot]
    world.voice_join(people[2].id, guild.id, study.id)
    told.clear()
    for place in (lounge.id, study.id, guild.text_channel.id, "1"):
        assert world.voice_join(bot.id, guild.id, place) is None
    assert world.voice_join(bot.id, "1", study.id) is None
    assert not told
    assert world.voice_join(guild.owner_id, guild.id, study.id)
    assert world.voice_join(people[2].id, guild.id, study.id, self_mute=True)


def test_a_new_voice_server(world: World, guild: Guild, bot: User, told: list[Fact]) -> None:
    """The endpoint goes away, then another token comes; who is in no channel has nothing to lose."""
    assert world.new_voice_server(guild.id, bot.id) is None
    old = world.voice_join(bot.id, guild.id, guild.voice_channels[0].id)
    told.clear()
    new = world.new_voice_server(guild.id, bot.id)
    assert old
    assert new
    assert told == [VoiceServerGone(old), VoiceSessionEnded(old, "server"), VoiceSessionStarted(new)]


def test_a_moderators_mute_stays(world: World, guild: Guild, bot: User) -> None:
    """Muted by a moderator, one is muted in the next channel too."""
    lounge, study = guild.voice_channels
    world.voice_mute(bot.id, guild.id, mute=True)
    world.voice_join(bot.id, guild.id, lounge.id)
    world.voice_mute(bot.id, guild.id, deaf=True)
    world.voice_join(bot.id, guild.id, study.id)
    state = world.voice_state(bot.id)
    assert state
    assert (state.mute, state.deaf, state.channel_id) == (True, True, study.id)
