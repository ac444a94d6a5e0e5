"""Transcripts of calls, only for guilds whose admins switched them on."""

from collections.abc import Callable, Sequence

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.privacy import exclude_writers
from discordplex.store.records import TranscribedCall, TranscriptLine
from discordplex.store.tables import GUILDS, PEOPLE, TRANSCRIPTS


class Transcripts:
    """Transcript lines by guild and call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, lines: Sequence[TranscriptLine], still: Callable[[TranscriptLine], bool] = lambda _: True) -> int:
        """Store these lines, except those of a guild with transcripts off and of people who opted out. Returns how many were stored.

        The store checks this in the same transaction, whatever the caller asks. It also checks `still` for each line, because somebody may
        have asked for a deletion while the lines waited. If another process has the guild, somebody may have asked there.
        """
        holds, guilds = self._database.fence.holds, set[int]()

        async def work(connection: AsyncConnection) -> int:
            wanted = [line for line in await welcome(connection, lines) if still(line) and holds(line.guild_id)]
            if wanted:
                await connection.execute(insert(TRANSCRIPTS), [values(line) for line in wanted])
            guilds.update(line.guild_id for line in wanted)
            return len(wanted)

        return await self._database.write("The transcript was not saved", work, still=lambda: all(map(holds, guilds))) if lines else 0

    async def calls(self, guild_id: int) -> tuple[TranscribedCall, ...]:
        """The calls of the guild with a transcript, the oldest first."""
        began = func.min(TRANSCRIPTS.c.said_at, type_=TRANSCRIPTS.c.said_at.type)
        query = (
            select(TRANSCRIPTS.c.call, began.label("began"), func.count().label("lines"))
            .where(TRANSCRIPTS.c.guild_id == guild_id)
            .group_by(TRANSCRIPTS.c.call)
            .order_by("began", TRANSCRIPTS.c.call)
        )

        async def work(connection: AsyncConnection) -> tuple[TranscribedCall, ...]:
            return tuple(TranscribedCall(row.call, row.began, row.lines) for row in await connection.execute(query))

        return await self._database.read("The transcripts were not read", work)

    async def read(self, guild_id: int, call: str) -> tuple[TranscriptLine, ...]:
        """The transcript of a call, in its order."""
        mine = (TRANSCRIPTS.c.guild_id == guild_id, TRANSCRIPTS.c.call == call)

        async def work(connection: AsyncConnection) -> tuple[TranscriptLine, ...]:
            rows = await connection.execute(select(TRANSCRIPTS).where(*mine).order_by(TRANSCRIPTS.c.said_at, TRANSCRIPTS.c.line))
            return tuple(TranscriptLine(row.guild_id, row.call, row.user_id, row.said_at, row.text) for row in rows)

        return await self._database.read("The transcript was not read", work)

    async def delete(self, guild_id: int, call: str | None = None) -> int:
        """Delete the lines of a call, or (None) of all calls of the guild; returns how many there were."""

        async def work(connection: AsyncConnection) -> int:
            await exclude_writers(connection)
            which = delete(TRANSCRIPTS).where(TRANSCRIPTS.c.guild_id == guild_id)
            return (await connection.execute(which if call is None else which.where(TRANSCRIPTS.c.call == call))).rowcount

        gone = await self._database.write("The transcripts were not deleted", work, urgent=True)
        await self._database.scrub()
        return gone


async def welcome(connection: AsyncConnection, lines: Sequence[TranscriptLine]) -> list[TranscriptLine]:
    """The lines that may be stored."""
    on = select(GUILDS.c.guild_id).where(GUILDS.c.transcripts, GUILDS.c.guild_id.in_({line.guild_id for line in lines}))
    out = select(PEOPLE.c.user_id).where(PEOPLE.c.opted_out, PEOPLE.c.user_id.in_({line.user_id for line in lines if line.user_id}))
    guilds = set((await connection.execute(on)).scalars())
    silent = set((await connection.execute(out)).scalars()) if guilds else set()
    return [line for line in lines if line.guild_id in guilds and line.user_id not in silent]


def values(line: TranscriptLine) -> dict[str, object]:
    """A line as a row."""
    return {"guild_id": line.guild_id, "call": line.call, "user_id": line.user_id, "said_at": line.said_at, "text": line.text}
