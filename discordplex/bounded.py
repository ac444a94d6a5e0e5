"""Keep a dict within a bound. Pure."""

from typing import Any


def drop_oldest(entries: dict[Any, Any], most: int) -> None:
    """Drop the entries that were added first until there are at most `most`."""
    while len(entries) > most:
        del entries[next(iter(entries))]
