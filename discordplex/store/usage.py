"""How long each guild has used engines that cost money, by the hour."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.records import HourOfUse
from discordplex.store.tables import USAGE


class StoredUsage:
    """The seconds of every guild."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, since_hour: int) -> tuple[HourOfUse, ...]:
        """All seconds from this hour on, in no order."""

        async def work(connection: AsyncConnection) -> tuple[HourOfUse, ...]:
            rows = await connection.execute(select(USAGE).where(USAGE.c.hour >= since_hour))
            return tuple(HourOfUse(row.guild_id, row.hour, row.seconds) for row in rows)

        return await self._database.read("The minutes that servers have used were not read", work)

    async def add(self, used: Sequence[HourOfUse], *, since_hour: int) -> None:
        """Add these seconds to the stored ones, and delete everything before `since_hour`."""

        async def work(connection: AsyncConnection) -> None:
            for one in used:
                new = self._database.insert(USAGE).values(guild_id=one.guild_id, hour=one.hour, seconds=one.seconds)
                total = USAGE.c.seconds + new.excluded.seconds
                await connection.execute(new.on_conflict_do_update(index_elements=["guild_id", "hour"], set_={"seconds": total}))
            await connection.execute(delete(USAGE).where(USAGE.c.hour < since_hour))

        await self._database.write("The minutes that servers have used were not saved", work)
