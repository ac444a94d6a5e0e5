"""Personas with names, each a guild's or a person's."""

import unicodedata

from sqlalchemy import ColumnElement, and_, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store.database import Database
from discordplex.store.records import Owner, SavedPersona
from discordplex.store.tables import PERSONAS

PER_OWNER = 100
"""A library that one scrolls through; and nobody fills the disk with it."""


class Personas:
    """The library of each guild and each person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, owner: Owner) -> tuple[SavedPersona, ...]:
        """All of an owner's, by name."""

        async def work(connection: AsyncConnection) -> tuple[SavedPersona, ...]:
            return await read_personas(connection, owner)

        return await self._database.read("The personas were not read", work)

    async def get(self, owner: Owner, name: str) -> SavedPersona | None:
        """The one of this name, in upper or lower case; None where there is none."""

        async def work(connection: AsyncConnection) -> SavedPersona | None:
            found = await read_personas(connection, owner, PERSONAS.c.name_key == key(name))
            return found[0] if found else None

        return await self._database.read("The persona was not read", work)

    async def save(self, *personas: SavedPersona) -> None:
        """Keep them, all or none; each replaces the owner's other of that name. Raises StoreError where the owner has too many."""

        async def work(connection: AsyncConnection) -> None:
            for one in personas:
                await self._save(connection, one)
            for owner in {one.owner for one in personas}:
                count = await connection.scalar(select(func.count()).select_from(PERSONAS).where(owned_by(owner)))
                if (count or 0) > PER_OWNER:
                    raise StoreError(f"The persona was not saved: {PER_OWNER} are kept at most. Delete one first.")

        await self._database.write("The persona was not saved", work)

    async def delete(self, owner: Owner, name: str) -> bool:
        """Forget the one of this name; whether there was one."""

        async def work(connection: AsyncConnection) -> bool:
            gone = await connection.execute(delete(PERSONAS).where(owned_by(owner), PERSONAS.c.name_key == key(name)))
            return gone.rowcount > 0

        return await self._database.write("The persona was not deleted", work)

    async def _save(self, connection: AsyncConnection, one: SavedPersona) -> None:
        new = {"name": one.name, "voice": one.persona.voice, "text_prompt": one.persona.text_prompt}
        statement = self._database.insert(PERSONAS).values(owner_kind=one.owner.kind, owner_id=one.owner.id, name_key=key(one.name), **new)
        await connection.execute(statement.on_conflict_do_update(index_elements=["owner_kind", "owner_id", "name_key"], set_=new))


def key(name: str) -> str:
    """What is the same in two spellings of a name."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def owned_by(owner: Owner) -> ColumnElement[bool]:
    """Which rows are theirs."""
    return and_(PERSONAS.c.owner_kind == owner.kind, PERSONAS.c.owner_id == owner.id)


async def read_personas(connection: AsyncConnection, owner: Owner, *more: ColumnElement[bool]) -> tuple[SavedPersona, ...]:
    """An owner's personas within a transaction."""
    # Sorted here: PostgreSQL's order depends on its locale.
    rows = sorted((await connection.execute(select(PERSONAS).where(owned_by(owner), *more))).all(), key=lambda row: str(row.name_key))
    return tuple(SavedPersona(owner, row.name, Persona(voice=row.voice, text_prompt=row.text_prompt)) for row in rows)
