"""The way to today's schema. Imported only where a database is behind: importing this imports Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Take the database to `revision`, in the transaction that is open on `connection`."""
    command.upgrade(settings(connection), revision)


def settings(connection: Connection) -> Config:
    """What Alembic would otherwise read from a file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
