"""Saved personas of guilds and people."""

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
"""The most personas of one owner: a list that people can still scroll through, and a limit for the disk."""


class Personas:
    """The saved personas of each guild and each person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, owner: Owner) -> tuple[SavedPersona, ...]:
        """All personas of an owner, sorted by name."""

        async def work(connection: AsyncConnection) -> tuple[SavedPersona, ...]:
            return await read_personas(connection, owner)

        return await self._database.read("The personas were not read", work)

    async def get(self, owner: Owner, name: str) -> SavedPersona | None:
        """The persona of this name, in upper or lower case; None if there is none."""

        async def work(connection: AsyncConnection) -> SavedPersona | None:
            found = await read_personas(connection, owner, PERSONAS.c.name_key == key(name))
            return found[0] if found else None

        return await self._database.read("The persona was not read", work)

    async def save(self, *personas: SavedPersona) -> None:
        """Save all of them, or none. Each replaces the owner's persona of the same name. Raises StoreError if the owner has too many."""
        for owner in {one.owner for one in personas}:
            await self.apply(owner, {key(one.name): one for one in personas if one.owner == owner})

    async def delete(self, owner: Owner, name: str) -> bool:
        """Delete the persona of this name; returns whether there was one."""
        return await self.apply(owner, {key(name): None}) > 0

    async def apply(self, owner: Owner, changes: Mapping[str, SavedPersona | None]) -> int:
        """Save or (None) delete personas, by the `key` of their names: all or none. Returns how many were replaced or deleted.

        Raises StoreError if the owner would have too many.
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
    """The normalised form of a name: two spellings of one name have the same key."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def values(one: SavedPersona) -> dict[str, object]:
    """A persona as a row."""
    prompt = one.persona.text_prompt
    owner = {"owner_kind": one.owner.kind, "owner_id": one.owner.id}
    return {**owner, "name": one.name, "name_key": key(one.name), "voice": one.persona.voice, "text_prompt": prompt}


def owned_by(owner: Owner) -> ColumnElement[bool]:
    """The condition for an owner's rows."""
    return and_(PERSONAS.c.owner_kind == owner.kind, PERSONAS.c.owner_id == owner.id)


async def read_personas(connection: AsyncConnection, owner: Owner, *more: ColumnElement[bool]) -> tuple[SavedPersona, ...]:
    """Read an owner's personas, inside a transaction."""
    # Sorted here, because PostgreSQL's order depends on its locale.
    rows = sorted((await connection.execute(select(PERSONAS).where(owned_by(owner), *more))).all(), key=lambda row: str(row.name_key))
    return tuple(SavedPersona(owner, row.name, Persona(voice=row.voice, text_prompt=row.text_prompt)) for row in rows)
