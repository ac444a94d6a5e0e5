"""How long each guild has used engines that cost money, so that a restart does not reset a limit."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """One more table: seconds by guild and hour."""
    op.create_table(
        "usage",
        sa.Column("guild_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("seconds", sa.Integer, nullable=False),
    )
