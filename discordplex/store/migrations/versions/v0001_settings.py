"""Settings of guilds and people, personas, the queue, transcripts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """From nothing."""
    make_guilds()
    make_people()
    make_queue()
    make_transcripts()


def make_guilds() -> None:
    """What admins decide."""
    op.create_table(
        "guilds",
        sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("captions_where", sa.String(16)),
        sa.Column("captions_channel_id", sa.BigInteger),
        sa.Column("voice", sa.Text),
        sa.Column("text_prompt", sa.Text),
        sa.Column("persona_name", sa.Text),
        sa.Column("transcripts", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("idle_minutes", sa.Integer),
        sa.Column("max_minutes", sa.Integer),
    )
    op.create_table(
        "guild_rules",
        sa.Column("guild_id", sa.BigInteger, sa.ForeignKey("guilds.guild_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("target_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("allowed", sa.Boolean, nullable=False),
    )


def make_people() -> None:
    """What persons decide, and the personas of both."""
    op.create_table(
        "people",
        sa.Column("user_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("opted_out", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("voice", sa.Text),
        sa.Column("text_prompt", sa.Text),
        sa.Column("persona_name", sa.Text),
    )
    op.create_table(
        "personas",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("owner_kind", sa.String(8), nullable=False),
        sa.Column("owner_id", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("name_key", sa.Text, nullable=False),
        sa.Column("voice", sa.Text, nullable=False),
        sa.Column("text_prompt", sa.Text, nullable=False),
        sa.UniqueConstraint("owner_kind", "owner_id", "name_key", name="one_persona_of_a_name"),
    )


def make_queue() -> None:
    """Who waits."""
    op.create_table(
        "queue",
        sa.Column("place", ROW_ID, primary_key=True),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("channel_id", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger),
        sa.Column("since", MOMENT, nullable=False),
        sa.UniqueConstraint("guild_id", "channel_id", name="one_place_of_a_channel"),
    )


def make_transcripts() -> None:
    """What was said where transcripts are on."""
    op.create_table(
        "transcripts",
        sa.Column("line", ROW_ID, primary_key=True),
        sa.Column("guild_id", sa.BigInteger, nullable=False),
        sa.Column("call", sa.String(64), nullable=False),
        sa.Column("user_id", sa.BigInteger),
        sa.Column("said_at", MOMENT, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_index("transcripts_by_call", "transcripts", ["guild_id", "call"])
    op.create_index("transcripts_by_person", "transcripts", ["user_id"])
