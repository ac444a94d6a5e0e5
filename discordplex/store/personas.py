"""Personas with names, each a guild's or a person's."""

import unicodedata
from collections.abc import Mapping

from sqlalchemy import ColumnElement, and_, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store.database import Database
from discordplex.store.personafile import MOST_PERSONAS
from discordplex.store.records import Owner, SavedPersona
from discordplex.store.tables import PERSONAS

PER_OWNER = MOST_PERSONAS
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
        for owner in {one.owner for one in personas}:
            await self.apply(owner, {key(one.name): one for one in personas if one.owner == owner})

    async def delete(self, owner: Owner, name: str) -> bool:
        """Forget the one of this name; whether there was one."""
        return await self.apply(owner, {key(name): None}) > 0

    async def apply(self, owner: Owner, changes: Mapping[str, SavedPersona | None]) -> int:
        """Keep or (None) forget these by the `key` of their names, all or none; how many were replaced or forgotten.

        Raises StoreError where the owner then has too many.
        """
        kept = [one for one in changes.values() if one]
        failure = "The persona was not saved" if kept else "The persona was not deleted"

        async def work(connection: AsyncConnection) -> int:
            gone = await connection.execute(delete(PERSONAS).where(owned_by(owner), PERSONAS.c.name_key.in_(changes)))
            if kept:
                await connection.execute(insert(PERSONAS), [values(one) for one in kept])
                count = await connection.scalar(select(func.count()).select_from(PERSONAS).where(owned_by(owner)))
                if (count or 0) > PER_OWNER:
                    raise StoreError(f"The persona was not saved: {PER_OWNER} are kept at most. Delete one first.")
            return gone.rowcount

        gone = await self._database.write(failure, work)
        if gone:
            await self._database.scrub()
        return gone


def key(name: str) -> str:
    """What is the same in two spellings of a name."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def values(one: SavedPersona) -> dict[str, object]:
    """A persona as a row."""
    prompt = one.persona.text_prompt
    owner = {"owner_kind": one.owner.kind, "owner_id": one.owner.id}
    return {**owner, "name": one.name, "name_key": key(one.name), "voice": one.persona.voice, "text_prompt": prompt}


def owned_by(owner: Owner) -> ColumnElement[bool]:
    """Which rows are theirs."""
    return and_(PERSONAS.c.owner_kind == owner.kind, PERSONAS.c.owner_id == owner.id)


async def read_personas(connection: AsyncConnection, owner: Owner, *more: ColumnElement[bool]) -> tuple[SavedPersona, ...]:
    """An owner's personas within a transaction."""
    # Sorted here: PostgreSQL's order depends on its locale.
    rows = sorted((await connection.execute(select(PERSONAS).where(owned_by(owner), *more))).all(), key=lambda row: str(row.name_key))
    return tuple(SavedPersona(owner, row.name, Persona(voice=row.voice, text_prompt=row.text_prompt)) for row in rows)
