"""`store.url` understood."""

import re
from pathlib import Path

import pytest

from discordplex.errors import ConfigError, StoreError
from discordplex.installing import pip_extra
from discordplex.store import address
from discordplex.store.address import MEMORY, parse


@pytest.mark.parametrize(
    ("text", "driver", "database"),
    [
        ("sqlite:///discordplex.db", "sqlite+aiosqlite", "discordplex.db"),
        ("sqlite+aiosqlite:///discordplex.db", "sqlite+aiosqlite", "discordplex.db"),
        ("sqlite:////var/lib/discordplex.db", "sqlite+aiosqlite", "/var/lib/discordplex.db"),
        ("postgresql://me:secret@db.example:5433/bot", "postgresql+asyncpg", "bot"),
        ("postgresql+asyncpg://db.example/bot", "postgresql+asyncpg", "bot"),
        ("postgres://db.example/bot", "postgresql+asyncpg", "bot"),
    ],
)
def test_the_driver_is_added(text: str, driver: str, database: str) -> None:
    """With and without its name, and in the spelling of hosting companies."""
    where = parse(text)
    assert (where.url.drivername, where.url.database) == (driver, database)


def test_memory_is_an_address() -> None:
    """Both of SQLite's spellings of it."""
    assert parse("sqlite://") == parse("sqlite+aiosqlite:///:memory:") == MEMORY


def test_options_of_other_drivers_are_translated() -> None:
    """What libpq calls `sslmode` keeps its effect, and what asyncpg does not know is left out."""
    where = parse("postgres://me@db.example/bot?sslmode=require&channel_binding=require&application_name=x")
    assert dict(where.url.query) == {"ssl": "require", "application_name": "x"}


@pytest.mark.parametrize("text", ["", "discordplex.db", "mysql://me:secret@host/db", "sqlite+pysqlite:///x.db", "postgresql://h:port/x"])
def test_another_url_is_a_mistake_in_the_configuration(text: str) -> None:
    """The sentence shows what would be right, and no password."""
    with pytest.raises(ConfigError, match=r"must look like sqlite:///discordplex.db or postgresql://") as caught:
        parse(text)
    assert "secret" not in str(caught.value)


def test_a_server_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asyncpg the sentence says what to install; only the operator reads a path."""
    monkeypatch.setattr(address, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"discordplex\[postgres\]") as caught:
        parse("postgresql://host/database")
    assert pip_extra("postgres") in caught.value.full
    assert pip_extra("postgres") not in str(caught.value)


def test_names_for_people_keep_passwords() -> None:
    """A server is shown by database and host alone."""
    assert parse("postgresql://me:secret@db.example/bot").shown == "bot on db.example"
    assert parse("postgresql:///bot?host=/run/postgresql").shown == "bot on this machine"


def test_a_relative_path_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a new file is for its owner's eyes alone."""
    monkeypatch.chdir(tmp_path)
    parse("sqlite:///settings.db").prepare()
    assert (tmp_path / "settings.db").stat().st_mode & 0o077 == 0


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """Its permissions and its bytes are its owner's business."""
    file = tmp_path / "settings.db"
    file.write_bytes(b"x")
    file.chmod(0o640)
    parse(f"sqlite:///{file}").prepare()
    assert (file.stat().st_mode & 0o777, file.read_bytes()) == (0o640, b"x")


@pytest.mark.parametrize(
    ("path", "why"),
    [("no/such/settings.db", "folder .*no/such.* does not exist"), (".", "names the folder"), ("file/x.db", "does not exist")],
)
def test_where_no_file_can_be(tmp_path: Path, path: str, why: str) -> None:
    """A missing folder, a folder, something below a file: each is a sentence, which names the path to the operator alone."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError) as caught:
        parse(f"sqlite:///{tmp_path}/{path}").prepare()
    assert re.search(why, caught.value.full)
    assert str(tmp_path) in caught.value.full
    assert "/" not in str(caught.value)
    assert "/" not in caught.value.why


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder where not even root makes files")
def test_a_folder_that_takes_no_files() -> None:
    """The system's reason is in the sentence."""
    with pytest.raises(StoreError, match=r"settings file cannot be created: .+\.") as caught:
        parse("sqlite:////proc/settings.db").prepare()
    assert "settings file /proc/settings.db cannot be created: " in caught.value.full
