"""`store.url` understood."""

import re
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from discordplex.errors import ConfigError, StoreError
from discordplex.installing import pip_extra
from discordplex.store import address
from discordplex.store.address import MEMORY, parse
from discordplex.store.backends import connect_directly
from discordplex.store.reasons import code, reason
from discordplex.store.store import open_store


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
    where = parse("postgres://me@db.example/bot?sslmode=require&channel_binding=require&target_session_attrs=primary")
    assert dict(where.url.query) == {"ssl": "require", "target_session_attrs": "primary"}


@pytest.mark.parametrize("text", ["", "discordplex.db", "mysql://me:secret@host/db", "sqlite+pysqlite:///x.db", "postgresql://h:port/x"])
def test_another_url_is_a_mistake_in_the_configuration(text: str) -> None:
    """The sentence shows what would be right, and no password."""
    with pytest.raises(ConfigError, match=r"must look like sqlite:///discordplex.db or postgresql://") as caught:
        parse(text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["store.url", "cluster.url"])
@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("@db.example:99999/bot", "a port is a number from 1 to 65535"),
        ("@db.example:0/bot", "a port is a number from 1 to 65535"),
        ("@/bot?host=one&port=99999", "a port is a number from 1 to 65535"),
        ("@/bot?host=one:99999", "a port is a number from 1 to 65535"),
        ("@/bot?host=one&port=x", "hosts and ports do not belong together"),
        ("@[host/bot", "no host can have this name"),
        ("@a b/bot", "no host can have this name"),
        ("@one..two/bot", "no host can have this name"),
        ("@ho*st/bot", "no host can have this name"),
        ("@db.example/bot?sslmode=always", "sslmode is one of disable"),
        ("@db.example/bot?connect_timeout=3", "an option that is not known here"),
        ("@db.example/bot?timeout=3", "an option that is not known here"),
    ],
)
def test_what_no_server_can_have_is_refused_and_not_tried_for_ever(key: str, rest: str, why: str) -> None:
    """In a sentence that names the setting, and no password."""
    with pytest.raises(ConfigError, match=rf"^{key} is .*{why}") as caught:
        parse(f"postgresql://me:hunter2{rest}", key)
    assert "hunter2" not in caught.value.full


@pytest.mark.parametrize(
    "rest",
    ["@[2001:db8::1]:5433/bot", "@10.0.0.1/bot", "@bücher.example/bot", "@my_db/bot", "[ter@db/bot", "@/bot?host=/run/x&port=6432"],
)
def test_what_a_server_may_have_is_taken(rest: str) -> None:
    """An address, a name in any script, a socket, and a bracket in the password."""
    assert parse(f"postgresql://me:hun{rest}").kind == "server"


@pytest.mark.parametrize(
    "rest",
    [
        "@127.0.0.1:1/bot",
        "@127.0.0.1:1/bot?sslmode=require",
        "@no.such.host.invalid/bot",
        "[ter2@127.0.0.1:1/bot",
        "@/bot?host=/no/such/folder",
    ],
)
async def test_no_password_is_in_what_a_driver_says(rest: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a server that is not there: in no sentence, no line of the log, and no exception that somebody may print."""
    with capture_logs() as logs:
        async with open_store(f"postgresql://me:hunter2{rest}", volatile=True) as store:
            with pytest.raises(StoreError) as caught:
                await store.people.opt_out(1)
            assert store.problem
            said = [store.problem, caught.value.full, caught.value.why, repr(caught.value)]
        with pytest.raises(OSError) as raised:  # noqa: PT011 - whatever the driver says
            await connect_directly(parse(f"postgresql://me:hunter2{rest}").url, 5.0)
    assert not [
        one for one in (*said, str(logs), caplog.text, code(raised.value), reason(raised.value)) if "hunter2" in one or "[ter2" in one
    ]


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
