"""What is stored about a person or a guild, and how to delete it."""

import functools

from sqlalchemy import delete, func, select, text, union, update
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.people import read_person, write_person
from discordplex.store.personas import owned_by, read_personas
from discordplex.store.queue import read_queue
from discordplex.store.records import Owner, PersonSettings, StoredAboutPerson
from discordplex.store.tables import GUILDS, PERSONAS, QUEUE, TRANSCRIPTS, UNFINISHED_NOTICES
from discordplex.store.watch import announce


class Privacy:
    """Reads and deletes the data of one person or one guild in all tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def what_is_stored(self, user_id: int) -> StoredAboutPerson:
        """All that is stored about a person."""

        async def work(connection: AsyncConnection) -> StoredAboutPerson:
            return await read_all(connection, user_id)

        return await self._database.read("What is stored about you was not read", work)

    async def forget(self, user_id: int) -> StoredAboutPerson:
        """Delete it, and return what was stored.

        An opt-out stays: deleting one's data is no wish to be heard. Places in the queue stay for their channels, without the person.
        """

        async def work(connection: AsyncConnection) -> StoredAboutPerson:
            await exclude_writers(connection)
            stored = await read_all(connection, user_id)
            await write_person(connection, user_id, PersonSettings(user_id, opted_out=stored.settings.opted_out))
            await connection.execute(delete(PERSONAS).where(owned_by(Owner("person", user_id))))
            await connection.execute(delete(TRANSCRIPTS).where(TRANSCRIPTS.c.user_id == user_id))
            await connection.execute(update(QUEUE).where(QUEUE.c.user_id == user_id).values(user_id=None))
            await announce(connection, "forget", user_id)
            return stored

        stored = await self._database.write("What is stored about you was not deleted", work, urgent=True)
        await self._database.scrub()
        return stored

    async def forget_guild(self, guild_id: int) -> None:
        """Delete what is stored of a guild, such as after the bot was removed: settings, personas, queue, transcripts, notices.

        The seconds that it has used stay, which are deleted after a day anyway: an invitation must not reset a limit. Only the process that
        has the guild may say so: it may have been invited again to another one.
        """

        async def work(connection: AsyncConnection) -> None:
            await exclude_writers(connection)
            await connection.execute(delete(GUILDS).where(GUILDS.c.guild_id == guild_id))
            await connection.execute(delete(PERSONAS).where(owned_by(Owner("guild", guild_id))))
            await connection.execute(delete(QUEUE).where(QUEUE.c.guild_id == guild_id))
            await connection.execute(delete(TRANSCRIPTS).where(TRANSCRIPTS.c.guild_id == guild_id))
            await connection.execute(delete(UNFINISHED_NOTICES).where(UNFINISHED_NOTICES.c.guild_id == guild_id))
            await announce(connection, "guild", guild_id)

        still = functools.partial(self._database.fence.holds, guild_id)
        await self._database.write("What is stored about this server was not deleted", work, urgent=True, still=still)
        await self._database.scrub()

    async def guilds(self) -> frozenset[int]:
        """Every guild with data that `forget_guild` deletes."""

        async def work(connection: AsyncConnection) -> frozenset[int]:
            of_guilds = select(PERSONAS.c.owner_id).where(PERSONAS.c.owner_kind == "guild")
            tables = (GUILDS, QUEUE, TRANSCRIPTS, UNFINISHED_NOTICES)
            query = union(*(select(table.c.guild_id) for table in tables), of_guilds)
            return frozenset((await connection.execute(query)).scalars())

        return await self._database.read("Which servers are known was not read", work)


async def exclude_writers(connection: AsyncConnection) -> None:
    """Block inserts until this transaction ends: rows of an uncommitted insert would escape the deletion.

    SQLite has one writer anyway.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(
            text("LOCK TABLE guilds, people, personas, queue, transcripts, unfinished_notices IN SHARE ROW EXCLUSIVE MODE")
        )


async def read_all(connection: AsyncConnection, user_id: int) -> StoredAboutPerson:
    """Read all that is stored about a person, inside a transaction."""
    said = TRANSCRIPTS.c.user_id == user_id
    lines = select(TRANSCRIPTS.c.guild_id, func.count()).where(said).group_by(TRANSCRIPTS.c.guild_id).order_by(TRANSCRIPTS.c.guild_id)
    return StoredAboutPerson(
        settings=await read_person(connection, user_id),
        personas=await read_personas(connection, Owner("person", user_id)),
        waiting=await read_queue(connection, QUEUE.c.user_id == user_id),
        transcript_lines=tuple((guild_id, count) for guild_id, count in await connection.execute(lines)),
    )
