"""What the doctor prints."""

import errno
import functools
import json
import subprocess
import sys

import pytest
from pydantic import SecretStr

from discordplex.config import Config, DiscordConfig, PersonaPlexConfig
from discordplex.doctor import report
from discordplex.doctor.finding import Check, Finding, failure, ok, warning
from discordplex.errors import EngineError


@pytest.mark.parametrize(
    ("findings", "code"), [([ok("a", "Fine.")], 0), ([warning("a", "Hm.", "Mend.")], 0), ([ok("a", "."), failure("b", "No.", "Mend.")], 1)]
)
def test_the_exit_code_says_whether_a_call_can_work(
    findings: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a failure keeps a call from working; each finding is a line, its mend below."""

    async def examine(_: Config, **_more: bool) -> list[Finding]:
        return findings

    monkeypatch.setattr(report, "examine", examine)
    assert report.run(Config(), as_json=False, given={}) == code
    printed = capsys.readouterr().out
    assert all(finding.says in printed and finding.mend in printed for finding in findings)
    assert report.run(Config(), as_json=True, given={}) == code
    assert json.loads(capsys.readouterr().out)["ok"] == (code == 0)


def test_everything_is_examined_without_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer without anything still gets every check, and no traceback."""
    config = Config(personaplex=PersonaPlexConfig(urls=("ws://127.0.0.1:9/api/chat",)))
    assert report.run(config, as_json=True, given={}) == 1
    printed = capsys.readouterr().out
    report_text = printed[printed.index("{\n") :]  # a library's log lines stand before it where no verb has set up the log
    checks = [finding["check"] for finding in json.loads(report_text)["findings"]]
    assert checks == ["python", "discord library", "libopus", "oggopus", "encryption", "voice", "token", "persona", "engine"]


class ParserError(Exception):
    """Some library's."""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ParserError("what a server wrote"), "ParserError"),
        (EngineError("A sentence of ours."), "A sentence of ours."),
        (OSError(errno.EMFILE, "Too many open files"), "limit of open files"),
        (ModuleNotFoundError("No module named 'nacl'", name="nacl"), "nacl"),
        (KeyError("x"), "KeyError"),
    ],
)
@pytest.mark.parametrize("number", range(10))
async def test_a_check_that_crashes_hides_no_other(number: int, fault: Exception, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own line says so, with advice; nothing of what a library wrote is repeated."""
    names = [name for name, _ in report.checks(Config())]

    def crash() -> Finding:
        raise fault

    async def crash_later() -> Finding:
        raise fault

    async def well(name: str) -> list[Finding]:
        return [ok(name, "Fine.")]

    for crashing in (crash, crash_later):
        found: list[tuple[str, Check]] = [(name, functools.partial(well, name)) for name in names]
        found[number] = (names[number], crashing)
        monkeypatch.setattr(report, "checks", lambda _, found=found, **_more: found)
        findings = await report.examine(Config())
        assert [finding.check for finding in findings] == names
        assert [finding.verdict for finding in findings].count("failure") == 1
        assert words in findings[number].says
        assert findings[number].mend
        assert "what a server wrote" not in f"{findings}"


def test_every_check_of_a_machine_without_certificates_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is named, and the libraries, the voice and the engine are still looked at."""
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    monkeypatch.setenv("ALL_PROXY", "gopher://u:s3cret@h")
    config = Config(
        discord=DiscordConfig(token=SecretStr("abc"), api_url="https://elsewhere.invalid/api/v10"),
        personaplex=PersonaPlexConfig(urls=("wss://elsewhere.invalid/api/chat",)),
    )
    assert report.run(config, as_json=True, given={}) == 1
    printed = capsys.readouterr().out
    findings = {finding["check"]: finding for finding in json.loads(printed[printed.index("{\n") :])["findings"]}
    assert {"python", "libopus", "encryption", "certificates", "proxies", "voice", "discord", "persona", "engine"} <= set(findings)
    assert "SSL_CERT_FILE" in findings["certificates"]["says"]
    assert "ALL_PROXY" in findings["proxies"]["says"]
    assert findings["voice"]["verdict"] != "failure"
    assert "SSL_CERT_FILE" in findings["discord"]["says"]
    assert "s3cret" not in printed


DOCTOR = "import sys; from discordplex.cli import main; sys.exit(main(['doctor', '--json']))"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_without_file_descriptors_there_is_still_a_report() -> None:
    """Whatever the limit is, something is said, and nothing but log lines goes to stderr."""
    for limit in (8, 14, 24):
        code = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit})); {DOCTOR}"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 -- ours
        assert done.returncode == 1, done.stderr
        assert all(line.startswith("{") for line in done.stderr.splitlines()), done.stderr  # log lines alone
        assert json.loads(done.stdout)["findings"]


def test_names_of_servers_cannot_forge_a_line() -> None:
    """What Discord says of a guild is one line."""
    assert len(report.line(ok("server a\nFAILURE  x: y", "It\x1b[31m\nis fine.")).splitlines()) == 1
