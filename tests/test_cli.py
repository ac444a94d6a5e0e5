"""The command line: what it accepts, where it delegates, and which exit code a failure gets."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from discordplex import __version__, cli, installing, verbs
from discordplex.config import Config
from discordplex.descriptors import NO_DESCRIPTORS
from discordplex.errors import ConfigError, DiscordplexError, EngineError
from discordplex.services import clients
from discordplex.stopping import Stop
from discordplex.store import address

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.abcdefghijklmnopqrstuvwxyzABCDEF"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory without settings, an environment without ours, and no log of ours left behind."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("DISCORDPLEX_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(verbs, "start_log", lambda _args, **_more: None)


def outcome(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    try:
        code = cli.main(argv)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """--version says name and version."""
    assert outcome(capsys, "--version") == (0, f"discordplex {__version__}\n", "")


def test_no_verb_is_a_wrong_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a verb the help is shown, and the exit code says that nothing was done."""
    code, out, err = outcome(capsys)
    assert (code, out) == (2, "")
    assert "usage: discordplex" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["sing"],
        ["run", "--nonsense"],
        ["run", "--set", "bot.captions"],
        ["run", "--log-level", "loud"],
        ["demo", "--seconds", "0"],
        ["demo", "--seconds", "inf"],
        ["standin", "--port", "65536"],
        ["standin", "--mode", "opera"],
        ["loopback"],
        ["config"],
    ],
)
def test_a_wrong_command_line_is_2(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """What cannot be understood ends with 2 and a word on stderr."""
    code, out, err = outcome(capsys, *argv)
    assert (code, out) == (2, "")
    assert "error:" in err


@pytest.mark.parametrize(
    "argv",
    [["run"], ["demo"], ["standin"], ["loopback"], ["doctor"], ["config"], ["config", "show"], ["config", "check"], ["config", "init"]],
)
def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str], argv: list[str]) -> None:
    """The help of each verb says in a sentence what it does, between the usage and the options."""
    code, out, _err = outcome(capsys, *argv, "--help")
    usage, sentence, *_ = out.split("\n\n")
    assert code == 0
    assert usage.startswith(f"usage: discordplex {' '.join(argv)}")
    assert sentence.endswith(".")


def test_run_without_a_token_says_where_to_put_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer's first mistake is answered with what to do."""
    code, out, err = outcome(capsys, "run")
    assert (code, out) == (2, "")
    assert "DISCORDPLEX_DISCORD__TOKEN" in err
    assert len(err.splitlines()) == 1


def test_run_with_a_wrong_setting_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that is wrong is told in a sentence."""
    code, _out, err = outcome(capsys, "run", "--set", "bot.auto_join=perhaps", "--set", "bot.captions=x")
    assert code == 2
    assert [line.split()[:2] for line in err.splitlines()] == [["discordplex:", "bot.auto_join"], ["discordplex:", "bot.captions"]]


def test_run_hands_settings_and_report_to_the_application(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` gives the application the settings in force, and its exit code to the shell."""
    seen: list[tuple[Config, Path | None]] = []

    async def run(config: Config, *, stop: Stop, report: Path | None, drain_s: float) -> int:
        assert (stop.signal, drain_s) == (None, 20.0)
        seen.append((config, report))
        return 1

    monkeypatch.setattr("discordplex.app.run", run)
    code, _out, err = outcome(
        capsys, "run", "--set", f"discord.token={TOKEN}", "--set", "bot.captions=off", "--report", "r.json", "--drain", "20"
    )
    assert (code, err) == (1, "")
    assert seen[0][0].bot.captions == "off"
    assert seen[0][1] == Path("r.json")


@pytest.mark.parametrize(("place", "why"), [("missing/r.json", "does not exist"), (".", "add the name of a file")])
def test_a_report_that_cannot_be_written_is_told_at_the_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, why: str
) -> None:
    """One sentence, exit code 2, and nothing has begun: not after hours, when the report is due."""
    monkeypatch.setattr("discordplex.app.run", None)
    code, _out, err = outcome(capsys, "run", "--set", f"discord.token={TOKEN}", "--report", str(tmp_path / place))
    assert code == 2
    assert why in err
    assert len(err.splitlines()) == 1


FAULTS: list[tuple[BaseException, int, str]] = [
    (ConfigError("Discord refuses the token."), 2, "Discord refuses the token."),
    (EngineError("No engine answers."), 1, "No engine answers."),
    (DiscordplexError("one\ntwo"), 1, "one\ndiscordplex: two"),
    (PermissionError(13, "Permission denied", "out.json"), 1, "out.json: permission denied"),
    (OSError("no route"), 1, "no route"),
    (OSError(24, "Too many open files", "x.py"), 1, f"{NO_DESCRIPTORS}."),
    (
        RuntimeError("odd"),
        1,
        "something broke inside discordplex (RuntimeError, test_cli.py:LINE); --log-level debug shows more, please report it",
    ),
]


@pytest.mark.parametrize(("fault", "code", "sentence"), FAULTS)
def test_failures_are_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fault: BaseException, code: int, sentence: str
) -> None:
    """Whatever a verb raises ends in a sentence on stderr, without a traceback, and in the right exit code."""
    monkeypatch.setattr(verbs, "standin", raising(fault))
    found, out, err = outcome(capsys, "standin")
    assert (found, out, re.sub(r"py:[0-9]+", "py:LINE", err)) == (code, "", f"discordplex: {sentence}\n")


def raising(fault: BaseException) -> Callable[[Any], int]:
    def verb(_args: object) -> int:
        raise fault

    return verb


def test_debug_shows_where_it_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --log-level debug a bug of ours keeps its traceback."""
    monkeypatch.setattr(verbs, "standin", raising(RuntimeError("odd")))
    with pytest.raises(RuntimeError, match="odd"):
        cli.main(["standin", "--log-level", "debug"])


@pytest.mark.parametrize(("verb", "code"), [("standin", 0), ("demo", 1)])
def test_an_interrupt_ends_a_server_well_and_fails_the_demo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, code: int
) -> None:
    """Ctrl-C is how one ends a server; a demo that was cut short did not do what it should."""
    monkeypatch.setattr(verbs, verb, raising(KeyboardInterrupt()))
    assert outcome(capsys, verb)[0] == code


def test_a_server_runs_until_a_signal_and_ends_cleanly() -> None:
    """SIGTERM sets the event that a server waits for, and the old handlers come back afterwards."""
    ended = []

    async def serve(asked: asyncio.Event) -> None:
        signal.raise_signal(signal.SIGTERM)
        await asked.wait()
        ended.append(True)

    before, stop = signal.getsignal(signal.SIGTERM), Stop()
    with stop.watching():
        verbs.until_stopped(stop, serve)
    assert ended == [True]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ([], {"require_dave": False, "shards": 1}),
        (["--require-dave"], {"require_dave": True, "shards": 1}),
        (["--shards", "4"], {"require_dave": False, "shards": 4}),
    ],
)
def test_the_loopback_is_told_its_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], options: dict[str, object]
) -> None:
    """What the command line says reaches the server, and nothing is demanded or divided otherwise."""
    told = []

    async def serve(*_: object, **given: object) -> None:
        told.append(given)

    monkeypatch.setattr("discordplex.loopback.discord.serve.serve", serve)
    assert cli.main(["loopback", "--dir", str(tmp_path), *words]) == 0
    assert told == [options]


@pytest.mark.parametrize("word", ["0", "-1", "many", "1025"])
def test_a_number_of_shards_that_is_none(tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused in words."""
    with pytest.raises(SystemExit) as end:
        cli.main(["loopback", "--dir", str(tmp_path), "--shards", word])
    assert end.value.code == 2
    assert "is not a number from 1 to 1024" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "code"), [("run", 0), ("standin", 0), ("loopback", 0), ("demo", 1)])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_a_verb_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: str, code: int, name: str
) -> None:
    """Servers end well, a demo was cut short; the signal counts although Python throws away what a destructor raises."""

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(getattr(signal, name))

    def start(args: Any, *_: object) -> int:
        with args.stop.importing():
            Dying()
        raise AssertionError

    monkeypatch.setattr(verbs, verb, start)
    assert outcome(capsys, verb, *(("--dir", "x") if verb == "loopback" else ()))[0] == code


def test_a_signal_before_the_verb_is_known_ends_the_others_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    """What `config` does needs no orderly end: an interrupt interrupts it, as it does any program."""
    stop = Stop()
    with stop.watching():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            cli.main(["config", "check"], stop=stop)
    assert capsys.readouterr().out == ""


def test_a_folder_of_secrets_without_a_token_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A service gets its secrets from there: the file that is missing has a name."""
    Path("secrets").mkdir()
    code, _out, err = outcome(capsys, "run", "--set", "secrets_dir=secrets")
    assert code == 2
    assert "There is no file discord.token in secrets (secrets_dir)." in err


def test_config_show_masks_secrets_and_names_sources(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`config show` is TOML with each setting's origin, and never the token or a password."""
    monkeypatch.setenv("DISCORDPLEX_DISCORD__TOKEN", TOKEN)
    Path("discordplex.toml").write_text('[store]\nurl = "postgresql://me:hunter2@db/x"\n', encoding="utf-8")
    code, out, _err = outcome(capsys, "config", "show", "--set", "bot.captions=off")
    assert code == 0
    assert 'token = "***"  # in the environment' in out
    assert 'url = "postgresql://***@db/x"  # in discordplex.toml' in out
    assert 'captions = "off"  # on the command line' in out
    assert "auto_join = true  # default" in out
    assert TOKEN not in out
    assert "hunter2" not in out


def test_what_config_show_prints_can_be_read_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The listing is a settings file."""
    _code, out, _err = outcome(capsys, "config", "show", "--set", 'persona.text_prompt=say "hi" – often')
    (tmp_path / "again.toml").write_text(out, encoding="utf-8")
    assert Config.load(tmp_path / "again.toml", {}).persona.text_prompt == 'say "hi" – often'


def test_config_check_wants_a_password_where_others_can_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As `run` does: nobody starts an open page by mistake."""
    monkeypatch.setenv("DISCORDPLEX_MONITORING__LISTEN", "0.0.0.0:9464")
    code, out, err = outcome(capsys, "config", "check")
    assert (code, out) == (2, "")
    assert "monitoring.password is not set" in err
    monkeypatch.setenv("DISCORDPLEX_MONITORING__PASSWORD", "correct horse battery")
    assert outcome(capsys, "config", "check")[0] == 0


def test_config_check_tells_what_is_missing_for_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Valid settings without a token are valid, with a hint."""
    code, out, err = outcome(capsys, "config", "check")
    assert (code, err) == (0, "")
    assert "valid" in out
    assert "discord.token is not set" in out


@pytest.mark.parametrize(
    ("settings", "hinted"),
    [
        (["engine.kind=realtime"], True),
        (['engine.kind=["personaplex", "realtime"]'], True),
        (["engine.kind=realtime", "realtime.api_key=sk-proj-0123456789abcdef"], False),
        (["engine.kind=realtime", "realtime.url=http://localhost:8080/v1"], False),
        ([], False),
    ],
)
def test_config_check_tells_that_a_service_needs_a_key(capsys: pytest.CaptureFixture[str], settings: list[str], *, hinted: bool) -> None:
    """A server of one's own may need none."""
    code, out, err = outcome(capsys, "config", "check", *(part for one in settings for part in ("--set", one)))
    assert (code, err) == (0, "")
    assert ("realtime.api_key is not set" in out) == hinted
    assert "sk-proj" not in out


@pytest.mark.parametrize(("word", "why"), [("1e9", "more than a day (86400 seconds)"), ("0", "above 0"), ("inf", "above 0")])
def test_a_process_drains_for_a_day_at_most(capsys: pytest.CaptureFixture[str], word: str, why: str) -> None:
    """A larger number is refused with the bound."""
    with pytest.raises(SystemExit):
        cli.main(["run", "--drain", word])
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("verb", [("config", "check"), ("run",)])
@pytest.mark.parametrize("missing", [False, True])
def test_a_mistake_in_the_cluster_s_url_names_the_cluster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...], *, missing: bool
) -> None:
    """Where the settings are checked and where the bot starts: not store.url, which nobody has set."""
    monkeypatch.setattr(address, "find_spec", lambda _: None if missing else object())
    url = "postgresql://me:hunter2@db.example:99999/bot"
    code, out, err = outcome(capsys, *verb, "--set", f"discord.token={TOKEN}", "--set", f"cluster.url={url}")
    assert code == cli.WRONG
    assert "cluster.url" in out + err
    assert "store.url" not in out + err
    assert "hunter2" not in out + err


def test_config_check_asks_the_store_side_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A database that `run` would refuse is found before it is opened."""
    code, _out, err = outcome(capsys, "config", "check", "--set", "store.url=mysql://me:hunter2@db/x")
    assert (code, "store.url" in err, "hunter2" in err) == (2, True, False)


def test_a_setting_without_a_value_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    """`--set discord.token TOKEN` forgets the sign between them."""
    code, _out, err = outcome(capsys, "config", "check", "--set", TOKEN)
    assert (code, "KEY=VALUE" in err, TOKEN in err) == (2, True, False)


def test_config_check_asks_for_the_packages_of_the_ears(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ears that are switched on need an extra; the sentence has the command."""
    assert outcome(capsys, "config", "check", "--set", "hearing.enabled=true")[0] == 0
    monkeypatch.setattr(clients, "is_installed", lambda: False)
    code, _out, err = outcome(capsys, "config", "check", "--set", "hearing.enabled=true")
    assert code == 2
    assert installing.pip_extra("cascade") in err
    assert outcome(capsys, "config", "check")[0] == 0


def test_config_check_asks_the_engine_side_too(capsys: pytest.CaptureFixture[str]) -> None:
    """A voice that no server has is found before a server is asked."""
    code, _out, err = outcome(capsys, "config", "check", "--set", "persona.voice=NATF9.pt")
    assert code == 2
    assert "NATF9.pt" in err


def test_config_init_writes_the_example_and_never_over_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """`config init` starts a settings file, and refuses to touch one that exists."""
    assert outcome(capsys, "config", "init")[0] == 0
    assert Config.load(None, {}) == Config()
    written = Path("discordplex.toml").read_bytes()
    code, _out, err = outcome(capsys, "config", "init")
    assert code == 2
    assert "already exists" in err
    assert Path("discordplex.toml").read_bytes() == written


def test_importing_the_command_line_imports_no_library() -> None:
    """--help is quick because nothing heavy is loaded for it."""
    program = "import sys; from discordplex import cli; cli.make_parser().format_help(); print(*sys.modules)"
    loaded = {module.split(".")[0] for module in python("-c", program).stdout.split()}
    assert not loaded & {"discord", "numpy", "pydantic", "structlog", "aiohttp", "rich", "PIL", "websockets"}


def test_an_engine_that_is_not_configured_is_not_loaded() -> None:
    """A bot with PersonaPlex has no module of the others, nor of what they need; one with Realtime has no SDK either."""
    program = """
import sys
from discordplex import app
from discordplex.clock import SystemClock
from discordplex.config import Config
app.engine_provider(Config(engine={"kind": sys.argv[1]}), SystemClock())
app.ears_provider(Config(), SystemClock())
print(*sys.modules)
"""
    others = ("openai", "httpx", "discordplex.cascade", "discordplex.hearing", "discordplex.services")
    for kind, absent in (("personaplex", (*others, "discordplex.realtime")), ("realtime", others)):
        loaded = python("-c", program, kind).stdout.split()
        assert loaded
        assert not [name for name in loaded if name.startswith(absent)]


def test_the_process_exits_with_the_code() -> None:
    """`python -m discordplex` is the command line, exit code included."""
    done = python("-m", "discordplex", "run")
    assert done.returncode == 2
    assert done.stderr.startswith("discordplex: discord.token is missing")
    assert "Traceback" not in done.stderr


def python(*args: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DISCORDPLEX_")}
    return subprocess.run([sys.executable, *args], check=False, capture_output=True, text=True, env=environ)  # noqa: S603 - our own interpreter


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_file_that_will_hold_a_token_is_for_its_owner_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`config init` makes it so, and `config check` says where another one is not."""
    assert outcome(capsys, "config", "init")[0] == 0
    file = Path("discordplex.toml")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(f'[discord]\ntoken = "{TOKEN}"\n', encoding="utf-8")
    assert "chmod" not in outcome(capsys, "config", "check")[1]
    file.chmod(0o644)
    code, out, _err = outcome(capsys, "config", "check")
    assert code == 0
    assert "chmod 600 discordplex.toml" in out
