"""The order of the queue over all processes. Pure."""

import itertools
from collections.abc import Iterable, Iterator

from discordplex.cluster.snapshot import WishRow


def in_order(waiting: Iterable[WishRow]) -> Iterator[WishRow]:
    """Guilds take turns, and of one guild's channels the first that asked comes first."""
    guilds: dict[int, list[WishRow]] = {}
    for wish in sorted(waiting, key=lambda wish: (wish.turn, wish.guild_id, wish.since, wish.channel_id)):
        guilds.setdefault(wish.guild_id, []).append(wish)
    return (wish for one in itertools.zip_longest(*guilds.values()) for wish in one if wish)
