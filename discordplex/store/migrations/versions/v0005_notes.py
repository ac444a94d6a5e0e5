"""Whether notes of each call are posted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """One more decision of the admins; off, as for a guild that decides nothing."""
    op.add_column("guilds", sa.Column("notes", sa.Boolean, nullable=False, server_default=sa.false()))
