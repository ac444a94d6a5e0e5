"""Which gateway connection (shard) of a bot has which guild. Pure."""


def shard_of(guild_id: int, count: int) -> int:
    """The number of the shard that gets a guild's events if there are so many (documented by Discord)."""
    return (guild_id >> 22) % count
