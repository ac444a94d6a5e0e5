"""The settings of people, valid in every guild: their persona, and whether they are heard."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.guilds import choice_of, choice_values
from discordplex.store.records import PersonSettings
from discordplex.store.tables import PEOPLE
from discordplex.store.watch import announce


class People:
    """Settings by person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, user_id: int) -> PersonSettings:
        """The settings of the person; the defaults if they have none."""

        async def work(connection: AsyncConnection) -> PersonSettings:
            return await read_person(connection, user_id)

        return await self._database.read("Your settings were not read", work)

    async def opted_out(self) -> frozenset[int]:
        """Everybody who must not be heard. Read it before the first call, because it applies from the first packet on.

        It can be read from a database of any schema, even if it is read-only or newer than this code.
        """

        async def work(connection: AsyncConnection) -> frozenset[int]:
            return frozenset((await connection.execute(select(PEOPLE.c.user_id).where(PEOPLE.c.opted_out))).scalars())

        return await self._database.read("Who is not to be heard was not read", work, even_unready=True)

    async def change(self, user_id: int, change: Callable[[PersonSettings], PersonSettings]) -> PersonSettings:
        """Apply `change` to the current settings and save the result: `change(7, lambda now: replace(now, choice=...))`.

        No other change can come in between. If `change` raises, nothing is saved, and the exception passes through.
        """
        before, settings = await self._change("The setting was not saved", user_id, change)
        if before.choice.text_prompt not in (None, settings.choice.text_prompt):
            await self._database.scrub()
        return settings

    async def opt_out(self, user_id: int) -> None:
        """From now on the person must not be heard, in any guild."""
        await self._change("Your wish not to be heard was not saved", user_id, lambda now: replace(now, opted_out=True), urgent=True)

    async def opt_in(self, user_id: int, *, deaths: int | None = None) -> None:
        """From now on the person may be heard again. They said so when this process had died so often (see `Fence`).

        If it has died since, they may have opted out in another process meanwhile: then this raises TakenOverError.
        """
        fence = self._database.fence
        await self._change(
            "Your wish to be heard again was not saved",
            user_id,
            lambda now: replace(now, opted_out=False),
            urgent=True,
            still=None if deaths is None else lambda: fence.deaths == deaths,
        )

    async def _change(
        self,
        failure: str,
        user_id: int,
        change: Callable[[PersonSettings], PersonSettings],
        *,
        urgent: bool = False,
        still: Callable[[], bool] | None = None,
    ) -> tuple[PersonSettings, PersonSettings]:
        async def work(connection: AsyncConnection) -> tuple[PersonSettings, PersonSettings]:
            await connection.execute(self._database.insert(PEOPLE).values(user_id=user_id).on_conflict_do_nothing())
            await connection.execute(select(PEOPLE.c.user_id).where(PEOPLE.c.user_id == user_id).with_for_update())
            before = await read_person(connection, user_id)
            settings = change(before)
            await write_person(connection, user_id, settings)
            await announce(connection, *(("people",) if settings.opted_out != before.opted_out else ("person", user_id)))
            return before, settings

        return await self._database.write(failure, work, urgent=urgent, still=still)


async def read_person(connection: AsyncConnection, user_id: int) -> PersonSettings:
    """Read the settings, inside a transaction."""
    row = (await connection.execute(select(PEOPLE).where(PEOPLE.c.user_id == user_id))).first()
    return PersonSettings(user_id, row.opted_out, choice_of(row)) if row else PersonSettings(user_id)


async def write_person(connection: AsyncConnection, user_id: int, settings: PersonSettings) -> None:
    """Write all settings, inside a transaction. For a person without settings, no row is kept."""
    mine = PEOPLE.c.user_id == user_id
    if settings == PersonSettings(user_id):
        await connection.execute(delete(PEOPLE).where(mine))
    else:
        values = {"opted_out": settings.opted_out, **choice_values(settings.choice)}
        await connection.execute(update(PEOPLE).where(mine).values(values))
