"""Messages that say that a call is running, so that the next process can edit those of a process that was killed."""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.records import UnfinishedNotice
from discordplex.store.tables import UNFINISHED_NOTICES

MOST_NOTICES = 1000
"""How many messages of each bot are remembered. Another one replaces the oldest."""


class StoredNotices:
    """Unfinished notices of every bot that uses the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> tuple[UnfinishedNotice, ...]:
        """All notices, the oldest first."""

        async def work(connection: AsyncConnection) -> tuple[UnfinishedNotice, ...]:
            rows = await connection.execute(select(UNFINISHED_NOTICES).order_by(UNFINISHED_NOTICES.c.message_id))
            return tuple(UnfinishedNotice(row.message_id, row.channel_id, row.guild_id, row.bot_id) for row in rows)

        return await self._database.read("The messages of earlier calls were not read", work)

    async def add(self, notice: UnfinishedNotice) -> None:
        """Remember a message."""
        theirs = UNFINISHED_NOTICES.c.bot_id == notice.bot_id
        # Ids of messages grow with time.
        kept = select(UNFINISHED_NOTICES.c.message_id).where(theirs).order_by(UNFINISHED_NOTICES.c.message_id.desc()).limit(MOST_NOTICES)
        values = {
            "message_id": notice.message_id,
            "channel_id": notice.channel_id,
            "guild_id": notice.guild_id,
            "bot_id": notice.bot_id,
        }

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(self._database.insert(UNFINISHED_NOTICES).values(values).on_conflict_do_nothing())
            await connection.execute(delete(UNFINISHED_NOTICES).where(theirs, UNFINISHED_NOTICES.c.message_id.not_in(kept)))

        await self._database.write("A message of a call was not remembered", work)

    async def remove(self, message_id: int) -> None:
        """Forget a message: it no longer says that a call is running."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(delete(UNFINISHED_NOTICES).where(UNFINISHED_NOTICES.c.message_id == message_id))

        await self._database.write("A message of a call was not forgotten", work)
