"""`discordplex run` with variables that lead nowhere: what it says, and that it ends as it should."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import structlog

from discordplex import cli, verbs

CLEAN = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY") and not name.startswith("DISCORDPLEX_")}
TOKEN = {"DISCORDPLEX_DISCORD__TOKEN": "abc", "DISCORDPLEX_DISCORD__API_URL": "https://discord.invalid/api/v10"}


async def run(folder: Path, environ: dict[str, str]) -> asyncio.subprocess.Process:
    arguments = ("-m", "discordplex", "run", "--log-format", "json")
    return await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=folder, env={**CLEAN, **TOKEN, **environ}, stderr=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"SSL_CERT_FILE": "/nowhere/ca.pem"}, "SSL_CERT_FILE"),
        ({"SSL_CERT_FILE": "", "REQUESTS_CA_BUNDLE": "/nowhere/ca.pem"}, "REQUESTS_CA_BUNDLE"),
        ({"all_proxy": "gopher://u:s3cret@h"}, "all_proxy"),
        ({"HTTPS_PROXY": "http://u:s3cret@h:port"}, "HTTPS_PROXY"),
    ],
)
def test_a_variable_that_cannot_be_obeyed_is_one_sentence(
    environ: dict[str, str], variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration is wrong: exit code 2, no traceback, no password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verbs, "start_log", lambda _args: None)
    for name in os.environ.keys() - CLEAN.keys():
        monkeypatch.delenv(name)
    for name, value in (TOKEN | environ).items():
        monkeypatch.setenv(name, value)
    with structlog.testing.capture_logs() as lines:
        code = cli.main(["run"])
    (said,) = capsys.readouterr().err.splitlines()
    assert code == 2
    assert variable in said
    assert "s3cret" not in said + str(lines)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
async def test_a_dead_proxy_is_named_in_the_log(tmp_path: Path) -> None:
    """With its variable and without its password; the bot goes on trying, and ends when it is told to."""
    process = await run(tmp_path, {"HTTPS_PROXY": "http://user:s3cret@127.0.0.1:9"})
    assert process.stderr
    while line := await process.stderr.readline():
        event = json.loads(line)
        assert b"s3cret" not in line
        if event["event"] == "discord unreachable":
            assert "HTTPS_PROXY" in event["advice"]
            assert "http://127.0.0.1:9" in event["advice"]
            break
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
