"""Who waits for an engine, so that a restart keeps everybody's place."""

from datetime import timezone

from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.records import Waiting
from discordplex.store.tables import QUEUE


class Queue:
    """The queue over all guilds, first come, first served."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[Waiting, ...]:
        """Who waits, the next one first."""

        async def work(connection: AsyncConnection) -> tuple[Waiting, ...]:
            return await read_queue(connection)

        return await self._database.read("The queue was not read", work)

    async def enter(self, waiting: Waiting) -> None:
        """Stand at the end. Who stands in the queue already keeps their place."""

        async def work(connection: AsyncConnection) -> None:
            values = {
                "guild_id": waiting.guild_id,
                "channel_id": waiting.channel_id,
                "user_id": waiting.user_id,
                "since": waiting.since.astimezone(timezone.utc),
            }
            await connection.execute(self._database.insert(QUEUE).values(values).on_conflict_do_nothing())

        await self._database.write("The place in the queue was not saved", work)

    async def leave(self, guild_id: int, channel_id: int) -> bool:
        """Wait no more; whether they did."""
        return await self._remove(and_(QUEUE.c.guild_id == guild_id, QUEUE.c.channel_id == channel_id))

    async def leave_guild(self, guild_id: int) -> bool:
        """Nobody of this guild waits any more; whether somebody did."""
        return await self._remove(QUEUE.c.guild_id == guild_id)

    async def _remove(self, which: ColumnElement[bool]) -> bool:
        async def work(connection: AsyncConnection) -> bool:
            return (await connection.execute(delete(QUEUE).where(which))).rowcount > 0

        return await self._database.write("Leaving the queue was not saved", work)


async def read_queue(connection: AsyncConnection, *which: ColumnElement[bool]) -> tuple[Waiting, ...]:
    """The queue, or those in it, within a transaction."""
    rows = await connection.execute(select(QUEUE).where(*which).order_by(QUEUE.c.place))
    return tuple(Waiting(row.guild_id, row.channel_id, row.user_id, row.since) for row in rows)
