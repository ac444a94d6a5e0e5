"""Who waits for an engine, so that a restart keeps everybody's place."""

from collections.abc import Callable
from datetime import timezone

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.records import QueueEntry
from discordplex.store.tables import QUEUE


class Queue:
    """The queue over all guilds, first come, first served."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[QueueEntry, ...]:
        """All entries, the next one first."""

        async def work(connection: AsyncConnection) -> tuple[QueueEntry, ...]:
            return await read_queue(connection)

        return await self._database.read("The queue was not read", work)

    async def enter(self, waiting: QueueEntry) -> None:
        """Add an entry at the end. A channel that is already in the queue keeps its place."""

        async def work(connection: AsyncConnection) -> None:
            values = {
                "guild_id": waiting.guild_id,
                "channel_id": waiting.channel_id,
                "user_id": waiting.user_id,
                "since": waiting.since.astimezone(timezone.utc),
            }
            await connection.execute(self._database.insert(QUEUE).values(values).on_conflict_do_nothing())

        await self._database.write("The place in the queue was not saved", work, still=self._is_here(waiting.guild_id))

    async def move(self, guild_id: int, before: int, after: int) -> bool:
        """Give the place of one channel to another of the same guild, replacing its own; returns whether there was such a place."""

        async def work(connection: AsyncConnection) -> bool:
            theirs = await connection.scalar(select(QUEUE.c.place).where(in_channel(guild_id, before)).with_for_update())
            if theirs is None:
                return False
            await connection.execute(delete(QUEUE).where(in_channel(guild_id, after), QUEUE.c.place != theirs))
            await connection.execute(update(QUEUE).where(QUEUE.c.place == theirs).values(channel_id=after))
            return True

        return await self._database.write("The place in the queue was not saved", work, still=self._is_here(guild_id))

    async def leave(self, guild_id: int, channel_id: int) -> bool:
        """Remove a channel; returns whether it was in the queue."""

        async def work(connection: AsyncConnection) -> bool:
            return (await connection.execute(delete(QUEUE).where(in_channel(guild_id, channel_id)))).rowcount > 0

        return await self._database.write("Leaving the queue was not saved", work, still=self._is_here(guild_id))

    def _is_here(self, guild_id: int) -> Callable[[], bool]:
        """Places are written by the process alone that has the guild."""
        return lambda: self._database.fence.holds(guild_id)


def in_channel(guild_id: int, channel_id: int) -> ColumnElement[bool]:
    """The condition for a channel's row."""
    return and_(QUEUE.c.guild_id == guild_id, QUEUE.c.channel_id == channel_id)


async def read_queue(connection: AsyncConnection, *which: ColumnElement[bool]) -> tuple[QueueEntry, ...]:
    """Read the queue, or the entries that match, inside a transaction."""
    rows = await connection.execute(select(QUEUE).where(*which).order_by(QUEUE.c.place))
    return tuple(QueueEntry(row.guild_id, row.channel_id, row.user_id, row.since) for row in rows)
