"""Whether a guild publishes what people say."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One more decision of the admins; NULL is the configuration's."""
    op.add_column("guilds", sa.Column("captions_of_people", sa.Boolean))
