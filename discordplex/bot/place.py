"""Place: a voice channel by its ids. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """One voice channel of one guild."""

    guild_id: int
    channel_id: int
