"""Parses `store.url`, also in the usual spellings that SQLAlchemy does not take."""

import contextlib
import ipaddress
import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from discordplex.errors import ConfigError, StoreError
from discordplex.installing import pip_extra
from discordplex.redact import shown_url

EXTRA = "postgres"

MOST_PORT = 65_535

HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")

OPTIONS = ("ssl", "target_session_attrs", "passfile", "krbsrvname", "gsslib")
"""Those of asyncpg's that a URL may have."""

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

DRIVERS = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
"""Schemes that people write, each with its driver."""


@dataclass(frozen=True, slots=True)
class Address:
    """A database that can be opened."""

    url: URL
    kind: Literal["memory", "file", "server"]

    @property
    def path(self) -> Path | None:
        """The file; None if the database is no file, or is named by an SQLite `file:` URI."""
        name = self.url.database or ""
        return None if self.kind != "file" or name.startswith("file:") else Path(name)

    @property
    def shown(self) -> str:
        """The database's name for people, without user and password."""
        return f"{self.url.database} on {self.url.host or 'this machine'}" if self.kind == "server" else str(self.url.database)

    def prepare(self) -> None:
        """Create the file if it is missing, readable by its owner only; raises StoreError if that fails."""
        path = self.path
        if path is None:
            return
        if not path.parent.is_dir():
            folder = path.parent.absolute()
            raise StoreError(
                "The folder for the settings does not exist. The bot's operator has to create it, or change store.url.",
                full=f"The folder {folder} for the settings does not exist: create it, or change store.url.",
                retry=True,
            )
        if path.is_dir():
            raise StoreError(
                "store.url names a folder. The bot's operator has to add the name of a file.",
                full=f"store.url names the folder {path.absolute()}: add the name of a file.",
                retry=True,
            )
        try:
            if not path.exists():
                path.touch(mode=0o600)
            tighten(path)
        except OSError as fault:
            raise StoreError(
                f"The settings file cannot be created: {fault.strerror}.",
                full=f"The settings file {path.absolute()} cannot be created: {fault.strerror}.",
                retry=True,
            ) from None


def tighten(path: Path) -> None:
    """Remove the rights of everybody but the owner and the group: files of older versions may be readable by all.

    The rights of the group stay, because they may be needed for backups. SQLite gives the files beside the database the same rights.
    """
    if not hasattr(os, "geteuid"):
        return  # Windows: the rights of the folder apply
    for one in (path, *(path.with_name(f"{path.name}{ending}") for ending in ("-wal", "-shm", "-journal"))):
        with contextlib.suppress(FileNotFoundError):
            state = one.stat()
            if state.st_uid == os.geteuid() and state.st_mode & 0o007:
                one.chmod(state.st_mode & 0o770)


MEMORY = Address(URL.create("sqlite+aiosqlite", database=":memory:"), "memory")
"""A database in memory, deleted when it is closed."""


def parse(text: str, key: str = "store.url") -> Address:
    """The database that `text`, the value of `key`, names; raises ConfigError if it is no URL of a supported database."""
    try:
        url = make_url(text)
        driver = DRIVERS[url.drivername]
    except (ArgumentError, KeyError, ValueError):
        raise ConfigError(
            f"{key} is {shown_url(text)!r}, but must look like sqlite:///discordplex.db or postgresql://user:password@host/database."
        ) from None
    url = url.set(drivername=driver)
    if driver.startswith("sqlite"):
        return Address(url, "file") if url.database not in (None, "", ":memory:") else MEMORY
    if find_spec("asyncpg") is None:
        missing = f"{key} names a PostgreSQL server, and the package for that is not installed."
        raise ConfigError(f"{missing} It is in discordplex[{EXTRA}].", full=f"{missing} Run: {pip_extra(EXTRA)}")
    url = in_words_of_asyncpg(url)
    wrong = mistake_in(url)
    if wrong:
        raise ConfigError(f"{key} is {shown_url(text)!r}, {wrong}.")
    return Address(url, "server")


def mistake_in(url: URL) -> str | None:
    """What no PostgreSQL server can have, as the end of a sentence: trying again would never help. It names nothing that may be secret."""
    dialect: Any = url.get_dialect()()
    try:
        options: dict[str, Any] = dialect.create_connect_args(url)[1]
    except (ArgumentError, ValueError):
        return "whose hosts and ports do not belong together"
    ports = [url.port, *in_list(options.get("port"))]
    if not all(port is None or 1 <= port <= MOST_PORT for port in ports):
        return f"but a port is a number from 1 to {MOST_PORT}"
    if not all(map(may_exist, in_list(options.get("host")))):
        return "but no host can have this name. In a password, write @ as %40, / as %2F, [ as %5B and ] as %5D"
    unknown = sorted(options.keys() - {"host", "port", "user", "password", "database", *OPTIONS})
    if unknown:
        return f"and it has an option that is not known here: remove it. Known are {', '.join(OPTIONS)} and sslmode"
    if options.get("ssl", SSL_MODES[0]) not in SSL_MODES:
        return f"but sslmode is one of {', '.join(SSL_MODES)}"
    return None


def in_list(value: Any) -> list[Any]:
    """One value, several, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def may_exist(host: str) -> bool:
    """Whether this can be the name or the address of a host, or the folder of a socket."""
    if host.startswith("/"):
        return True
    with contextlib.suppress(ValueError):
        return bool(ipaddress.ip_address(host))
    with contextlib.suppress(UnicodeError):
        return bool(HOST.fullmatch(host.encode("idna").decode("ascii")))
    return False


def in_words_of_asyncpg(url: URL) -> URL:
    """Hosting companies print `sslmode`, which asyncpg calls `ssl`; `channel_binding` is unknown to asyncpg and not needed."""
    mode = url.query.get("sslmode")
    url = url.difference_update_query(["sslmode", "channel_binding"])
    return url.update_query_dict({"ssl": mode}) if mode else url
