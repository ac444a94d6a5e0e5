"""The initial world of every loopback: two guilds, two voice channels each, four bots, four people.

Ids and tokens are the same in each run, so a client that reconnects to a restarted loopback finds everything unchanged.
"""

from discordplex.loopback.discord.world.model import TEXT, VOICE
from discordplex.loopback.discord.world.permissions import BITS
from discordplex.loopback.discord.world.world import World

BOTS = ("Plex", "Echo", "Scribe", "Parley")
PEOPLE = ("Ada", "Ben", "Cleo", "Dev")
GUILDS = ("Lighthouse", "Workshop")
VOICE_CHANNELS = ("Lounge", "Study")


def populate(world: World) -> None:
    """Fill an empty world. Ada owns the first guild, Ben the second; everybody is a member of both, and nobody is in voice."""
    bots = [world.add_user(name, bot=True, user_id=_id(1, index)) for index, name in enumerate(BOTS)]
    people = [world.add_user(name, bot=False, user_id=_id(2, index)) for index, name in enumerate(PEOPLE)]
    for index, name in enumerate(GUILDS):
        guild = world.add_guild(name, owner_id=people[index].id, guild_id=_id(3, index))
        for user in (*people, *bots):
            world.add_member(guild.id, user.id)
        moderator = BITS["move_members"] | BITS["mute_members"] | BITS["manage_messages"]
        world.add_role(guild.id, "Moderator", moderator, role_id=_id(4, index))
        world.add_channel(guild.id, "general", TEXT, channel_id=_id(5, index))
        for place, voice in enumerate(VOICE_CHANNELS):
            world.add_channel(guild.id, voice, VOICE, channel_id=_id(6 + index, place))


def _id(kind: int, index: int) -> str:
    """A snowflake of early 2022, which no new one can equal."""
    return str((220_000_000_000 + kind * 1000 + index) << 22)
