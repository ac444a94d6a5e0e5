"""The current schema. `migrations/` leads to it from every older one; a test compares the two."""

from datetime import datetime, timezone

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
)

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006")
"""The version of every schema, the oldest first. This code reads and writes the last one."""

VERSION_TABLE = "discordplex_version"
"""The table with the version of a database."""

METADATA = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A time: with a time zone in Python, in UTC in the database (SQLite has no time zones)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value for the database."""
        del dialect
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment without its time zone")
        return value and value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value for Python."""
        del dialect
        return value and (value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc))


RowId = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database assigns. In SQLite only INTEGER columns count up."""

GUILDS = Table(
    "guilds",
    METADATA,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("captions_where", String(16)),
    Column("captions_channel_id", BigInteger),
    Column("voice", Text),
    Column("text_prompt", Text),
    Column("persona_name", Text),
    Column("transcripts", Boolean, nullable=False, server_default=false()),
    Column("idle_minutes", Integer),
    Column("max_minutes", Integer),
    Column("captions_of_people", Boolean),
    Column("notes", Boolean, nullable=False, server_default=false()),
)

GUILD_RULES = Table(
    "guild_rules",
    METADATA,
    Column("guild_id", BigInteger, ForeignKey("guilds.guild_id", ondelete="CASCADE"), primary_key=True),
    Column("kind", String(8), primary_key=True),
    Column("target_id", BigInteger, primary_key=True, autoincrement=False),
    Column("allowed", Boolean, nullable=False),
)

PEOPLE = Table(
    "people",
    METADATA,
    Column("user_id", BigInteger, primary_key=True, autoincrement=False),
    Column("opted_out", Boolean, nullable=False, server_default=false()),
    Column("voice", Text),
    Column("text_prompt", Text),
    Column("persona_name", Text),
)

PERSONAS = Table(
    "personas",
    METADATA,
    Column("id", RowId, primary_key=True),
    Column("owner_kind", String(8), nullable=False),
    Column("owner_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("voice", Text, nullable=False),
    Column("text_prompt", Text, nullable=False),
    UniqueConstraint("owner_kind", "owner_id", "name_key", name="one_persona_of_a_name"),
)

QUEUE = Table(
    "queue",
    METADATA,
    Column("place", RowId, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("user_id", BigInteger),
    Column("since", UtcTime, nullable=False),
    UniqueConstraint("guild_id", "channel_id", name="one_place_of_a_channel"),
)

UNFINISHED_NOTICES = Table(
    "unfinished_notices",
    METADATA,
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("channel_id", BigInteger, nullable=False),
    Column("guild_id", BigInteger, nullable=False),
    Column("bot_id", BigInteger, nullable=False),
)

USAGE = Table(
    "usage",
    METADATA,
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("seconds", Integer, nullable=False),
)

TRANSCRIPTS = Table(
    "transcripts",
    METADATA,
    Column("line", RowId, primary_key=True),
    Column("guild_id", BigInteger, nullable=False),
    Column("call", String(64), nullable=False),
    Column("user_id", BigInteger),
    Column("said_at", UtcTime, nullable=False),
    Column("text", Text, nullable=False),
    Index("transcripts_by_call", "guild_id", "call"),
    Index("transcripts_by_person", "user_id"),
)

CLUSTER_MEMBERS = Table(
    "cluster_members",
    METADATA,
    Column("member", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("slots", Text, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("started_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
)

CLUSTER_SHARDS = Table(
    "cluster_shards",
    METADATA,
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(32)),
    Column("moved_at", Double, nullable=False),
    Column("login_at", Double, nullable=False),
)

CLUSTER_SLOTS = Table(
    "cluster_slots",
    METADATA,
    Column("slot", Text, primary_key=True),
    Column("holder", String(32)),
    Column("guild_id", BigInteger),
    Column("purpose", String(8), nullable=False),
    Column("asked_back", Boolean, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("paused_until", Double, nullable=False),
    Column("lapsed_at", Double, nullable=False),
)

CLUSTER_WISHES = Table(
    "cluster_wishes",
    METADATA,
    Column("holder", String(32), primary_key=True),
    Column("guild_id", BigInteger, primary_key=True, autoincrement=False),
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    Column("purpose", String(8), primary_key=True),
    Column("turn", Double, nullable=False),
    Column("since", Double, nullable=False),
    Column("ready", Boolean, nullable=False),
    Column("kinds", Text, nullable=False),
)

CLUSTER_FACTS = Table(
    "cluster_facts",
    METADATA,
    Column("fact", String(16), primary_key=True),
    Column("value", Text, nullable=False),
)
