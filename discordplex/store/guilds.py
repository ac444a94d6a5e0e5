"""The settings of guilds, made by their admins."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from discordplex.store.database import Database
from discordplex.store.records import CaptionsSetting, Choice, GuildSettings
from discordplex.store.tables import GUILD_RULES, GUILDS
from discordplex.store.watch import announce

MOST_AT_ONCE = 500
"""Guilds in one statement: SQLite took 999 values before 2020, and a statement of 500 takes milliseconds."""


class Guilds:
    """Settings by guild."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, guild_id: int) -> GuildSettings:
        """The settings of the guild; the defaults if it has none."""

        async def work(connection: AsyncConnection) -> GuildSettings:
            return await read_guild(connection, guild_id)

        return await self._database.read("The settings of this server were not read", work)

    async def get_all(self, guild_ids: Collection[int]) -> dict[int, GuildSettings]:
        """The settings of many guilds, in one transaction. Ask for at most `MOST_AT_ONCE`: a database limits the values of a statement."""

        async def work(connection: AsyncConnection) -> dict[int, GuildSettings]:
            return await read_guilds(connection, guild_ids)

        return await self._database.read("The settings of many servers were not read", work)

    async def change(self, guild_id: int, change: Callable[[GuildSettings], GuildSettings]) -> GuildSettings:
        """Apply `change` to the current settings and save the result: `change(7, lambda now: replace(now, transcripts=True))`.

        No other change can come in between. If `change` raises, nothing is saved, and the exception passes through.
        """

        async def work(connection: AsyncConnection) -> tuple[GuildSettings, GuildSettings]:
            await connection.execute(self._database.insert(GUILDS).values(guild_id=guild_id).on_conflict_do_nothing())
            # On PostgreSQL others can read this row meanwhile, but not change it. SQLite has one writer anyway.
            await connection.execute(select(GUILDS.c.guild_id).where(GUILDS.c.guild_id == guild_id).with_for_update())
            before = await read_guild(connection, guild_id)
            settings = change(before)
            await write_guild(connection, guild_id, settings)
            await announce(connection, "guild", guild_id)
            return before, settings

        before, settings = await self._database.write("The setting was not saved", work)
        if before.choice.text_prompt not in (None, settings.choice.text_prompt):
            await self._database.scrub()
        return settings


async def read_guild(connection: AsyncConnection, guild_id: int) -> GuildSettings:
    """Read the settings of one, inside a transaction."""
    return (await read_guilds(connection, (guild_id,)))[guild_id]


async def read_guilds(connection: AsyncConnection, guild_ids: Collection[int]) -> dict[int, GuildSettings]:
    """Read the settings of each, inside a transaction; the defaults of those that have none."""
    rows = (await connection.execute(select(GUILDS).where(GUILDS.c.guild_id.in_(guild_ids)))).all()
    found = {guild_id: GuildSettings(guild_id) for guild_id in guild_ids}
    if not rows:
        return found
    rules: dict[int, list[Row[Any]]] = {row.guild_id: [] for row in rows}
    for rule in await connection.execute(select(GUILD_RULES).where(GUILD_RULES.c.guild_id.in_(rules))):
        rules[rule.guild_id].append(rule)
    return found | {row.guild_id: settings_of(row, rules[row.guild_id]) for row in rows}


def settings_of(row: Row[Any], rules: Collection[Row[Any]]) -> GuildSettings:
    """The settings in a row of guilds and in its rows of rules."""
    return GuildSettings(
        guild_id=row.guild_id,
        captions=CaptionsSetting(row.captions_where, row.captions_channel_id) if row.captions_where else None,
        choice=choice_of(row),
        transcripts=row.transcripts,
        captions_of_people=row.captions_of_people,
        notes=row.notes,
        idle_minutes=row.idle_minutes,
        max_minutes=row.max_minutes,
        allowed_channels=targets(rules, "channel", allowed=True),
        denied_channels=targets(rules, "channel", allowed=False),
        allowed_roles=targets(rules, "role", allowed=True),
        denied_roles=targets(rules, "role", allowed=False),
    )


async def write_guild(connection: AsyncConnection, guild_id: int, settings: GuildSettings) -> None:
    """Write all settings, inside a transaction. The guild must have a row."""
    captions = settings.captions
    values = {
        "captions_where": captions and captions.where,
        "captions_channel_id": captions and captions.channel_id,
        "transcripts": settings.transcripts,
        "captions_of_people": settings.captions_of_people,
        "notes": settings.notes,
        "idle_minutes": settings.idle_minutes,
        "max_minutes": settings.max_minutes,
        **choice_values(settings.choice),
    }
    await connection.execute(update(GUILDS).where(GUILDS.c.guild_id == guild_id).values(values))
    await connection.execute(delete(GUILD_RULES).where(GUILD_RULES.c.guild_id == guild_id))
    rules = [
        {"guild_id": guild_id, "kind": kind, "target_id": target_id, "allowed": allowed}
        for kind, allowed, target_ids in (
            ("channel", True, settings.allowed_channels),
            ("channel", False, settings.denied_channels),
            ("role", True, settings.allowed_roles),
            ("role", False, settings.denied_roles),
        )
        for target_id in sorted(target_ids)
    ]
    if rules:
        await connection.execute(insert(GUILD_RULES), rules)


def targets(rules: Iterable[Row[Any]], kind: str, *, allowed: bool) -> frozenset[int]:
    """The channels or roles that are allowed, or denied."""
    return frozenset(rule.target_id for rule in rules if rule.kind == kind and rule.allowed == allowed)


def choice_of(row: Row[Any]) -> Choice:
    """The persona chosen in a row of guilds or people."""
    return Choice(voice=row.voice, text_prompt=row.text_prompt, name=row.persona_name)


def choice_values(choice: Choice) -> dict[str, str | None]:
    """The columns that hold a choice."""
    return {"voice": choice.voice, "text_prompt": choice.text_prompt, "persona_name": choice.name}
