"""Tests of discordplex.loopback.discord.world.directory and the population that every loopback starts with."""

import base64

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.world.model import TEXT, THREAD, ChannelChanged, Fact
from discordplex.loopback.discord.world.permissions import BITS
from discordplex.loopback.discord.world.population import populate
from discordplex.loopback.discord.world.world import World


def test_everybody_the_contract_promises_is_there(world: World) -> None:
    """Two guilds, two voice channels each, four bots and four people in both, everybody with a token of their own."""
    assert len(world.guilds) == 2
    assert all(len(guild.voice_channels) == 2 for guild in world.guilds.values())
    assert all(set(guild.members) == set(world.users) for guild in world.guilds.values())
    assert [sum(user.bot is kind for user in world.users.values()) for kind in (True, False)] == [4, 4]
    assert len({user.token for user in world.users.values()}) == 8


def test_a_second_world_has_the_same_ids(world: World) -> None:
    """A restarted loopback knows the same users by the same tokens."""
    other = World(FakeClock())
    populate(other)
    assert other.users == world.users
    assert list(other.guilds) == list(world.guilds)


def test_ids_are_unique_and_rise(world: World) -> None:
    """New ids are snowflakes: decimal strings, each above the one before, and above those of the population."""
    ids = [world.snowflake() for _ in range(100)]
    assert sorted(ids, key=int) == ids
    assert len(set(ids)) == 100
    assert int(ids[0]) > max(int(user_id) for user_id in world.users)


def test_a_token_says_whose_it_is(world: World) -> None:
    """A token is known with and without its prefix; its first part is the id, as some libraries expect; no other is anybody's."""
    user = next(iter(world.users.values()))
    assert world.user_of_token(f"Bot {user.token}") is world.user_of_token(user.token) is user
    head = user.token.split(".", maxsplit=1)[0]
    assert base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)).decode() == user.id
    assert world.user_of_token("") is None


def test_roles_owner_and_strangers(world: World) -> None:
    """A role adds to everybody's permissions, the owner may everything, a stranger nothing; a thread is as its parent."""
    guild = next(iter(world.guilds.values()))
    bot = next(user for user in world.users.values() if user.bot)
    text = guild.text_channel
    assert not world.may(bot.id, text, "manage_channels")
    guild.members[bot.id].role_ids.append(world.add_role(guild.id, "Helper", BITS["manage_channels"]).id)
    assert world.may(bot.id, text, "manage_channels")
    assert world.may_in_guild(bot.id, guild, "manage_channels")
    assert world.may(guild.owner_id, text, "administrator")
    stranger = world.add_user("Eve", bot=False)
    assert world.permissions(stranger.id, text) == 0
    thread = world.add_channel(guild.id, "aside", THREAD, parent_id=text.id)
    world.overwrite(text, bot.id, deny=BITS["send_messages_in_threads"])
    assert not world.may(bot.id, thread, "send_messages_in_threads")


def test_an_overwrite_can_be_turned(world: World) -> None:
    """What was denied can be allowed again, and each change is told."""
    told: list[Fact] = []
    unsubscribe = world.subscribe(told.append)
    channel = next(iter(world.guilds.values())).text_channel
    world.overwrite(channel, "1", deny=BITS["speak"] | BITS["connect"])
    world.overwrite(channel, "1", allow=BITS["speak"])
    assert (channel.overwrites["1"].allow, channel.overwrites["1"].deny) == (BITS["speak"], BITS["connect"])
    assert told == [ChannelChanged(channel)] * 2
    unsubscribe()
    world.add_channel(channel.guild_id, "more", TEXT)
    assert len(told) == 2
