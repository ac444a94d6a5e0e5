"""What the doctor prints."""

import json

import pytest

from discordplex.config import Config, PersonaPlexConfig
from discordplex.doctor import report
from discordplex.doctor.finding import Finding, failure, ok, warning


@pytest.mark.parametrize(
    ("findings", "code"), [([ok("a", "Fine.")], 0), ([warning("a", "Hm.", "Mend.")], 0), ([ok("a", "."), failure("b", "No.", "Mend.")], 1)]
)
def test_the_exit_code_says_whether_a_call_can_work(
    findings: list[Finding], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a failure keeps a call from working; each finding is a line, its mend below."""

    async def examine(_: Config) -> list[Finding]:
        return findings

    monkeypatch.setattr(report, "examine", examine)
    assert report.run(Config(), as_json=False) == code
    printed = capsys.readouterr().out
    assert all(finding.says in printed and finding.mend in printed for finding in findings)
    assert report.run(Config(), as_json=True) == code
    assert json.loads(capsys.readouterr().out)["ok"] == (code == 0)


def test_everything_is_examined_without_a_token(capsys: pytest.CaptureFixture[str]) -> None:
    """A newcomer without anything still gets every check, and no traceback."""
    config = Config(personaplex=PersonaPlexConfig(urls=("ws://127.0.0.1:9/api/chat",)))
    assert report.run(config, as_json=True) == 1
    printed = capsys.readouterr().out
    report_text = printed[printed.index("{\n") :]  # a library's log lines stand before it where no verb has set up the log
    checks = [finding["check"] for finding in json.loads(report_text)["findings"]]
    assert checks == ["python", "discord library", "libopus", "oggopus", "encryption", "voice", "token", "persona", "engine"]
