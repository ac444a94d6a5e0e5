"""Several processes of one bot: who lives, who holds which shard and engine slot, who waits. In SQLite these tables stay empty."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Five more tables: numbers of servers and channels, and none of people."""
    op.create_table(
        "cluster_members",
        sa.Column("member", sa.String(32), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("slots", sa.Text, nullable=False),
        sa.Column("draining", sa.Boolean, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
    )
    op.create_table(
        "cluster_shards",
        sa.Column("shard", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("holder", sa.String(32)),
        sa.Column("moved_at", sa.Double, nullable=False),
        sa.Column("login_at", sa.Double, nullable=False),
    )
    op.create_table(
        "cluster_slots",
        sa.Column("slot", sa.Text, primary_key=True),
        sa.Column("holder", sa.String(32)),
        sa.Column("guild_id", sa.BigInteger),
        sa.Column("purpose", sa.String(8), nullable=False),
        sa.Column("asked_back", sa.Boolean, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("paused_until", sa.Double, nullable=False),
        sa.Column("lapsed_at", sa.Double, nullable=False),
    )
    op.create_table(
        "cluster_wishes",
        sa.Column("holder", sa.String(32), primary_key=True),
        sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("channel_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("purpose", sa.String(8), primary_key=True),
        sa.Column("turn", sa.Double, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("ready", sa.Boolean, nullable=False),
        sa.Column("kinds", sa.Text, nullable=False),
    )
    op.create_table(
        "cluster_facts",
        sa.Column("fact", sa.String(16), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
