"""Fence: whether this process may still write, where several processes of a bot share a database. Pure.

A process that stood still wakes with changes in memory that are not saved. It writes none of them until it knows what the others took
meanwhile. Then it saves what people asked for and what they have used, wherever they are now, and drops what only the process may say that
has the server: places in the queue, transcripts, the deletion of a server that removed the bot.
"""

from typing import Protocol

from discordplex.errors import StoreError


class Fence(Protocol):
    """What a process knows of itself. Thread: loop."""

    @property
    def alive(self) -> bool:
        """Whether it has run without a long stop. If not, await `passable`."""
        ...

    @property
    def deaths(self) -> int:
        """How often the others have taken it for dead: what was asked for before may be older than what they have saved."""
        ...

    async def passable(self) -> None:
        """Return when it is alive and, if the database can be reached, knows what it has lost."""
        ...

    async def is_sure(self) -> bool:
        """Return True when it knows what it has; False if the database cannot be reached, so that nobody can tell."""
        ...

    def holds(self, guild_id: int) -> bool:
        """Whether a guild is this process's, as far as it knows."""
        ...


class NoFence:
    """The fence of a process that is alone: nobody else writes."""

    alive = True
    deaths = 0

    async def passable(self) -> None:
        """Return at once."""

    async def is_sure(self) -> bool:
        """True."""
        return True

    def holds(self, guild_id: int) -> bool:  # noqa: ARG002 -- the port's shape
        """True."""
        return True


class TakenOverError(StoreError):
    """Another process has what the change is about, so nothing was written and nothing ever will be."""
