"""Migrates an older schema to the current one. Import it only for that, because it imports Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Migrate the database to `revision`, in the open transaction of `connection`."""
    command.upgrade(settings(connection), revision)


def settings(connection: Connection) -> Config:
    """The configuration that Alembic would otherwise read from a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
