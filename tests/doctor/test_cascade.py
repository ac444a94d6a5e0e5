"""What the doctor says about a cascade."""

import pytest

from discordplex import installing
from discordplex.config import Config
from discordplex.doctor.cascade import check_cascade
from discordplex.doctor.engines import check_engines
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services import clients


def config_of(server: StandInOpenAI) -> Config:
    return Config.model_validate({"engine": {"kind": "cascade"}, "cascade": {"base_url": server.base_url, "api_key": server.api_key}})


async def test_models_that_end_are_warnings() -> None:
    """A call can work with the defaults for now; each warning names the service, the date and the mend."""
    async with StandInOpenAI() as server:
        findings = await check_engines(config_of(server))
    assert [(finding.check, finding.verdict) for finding in findings] == [
        ("persona", "ok"),
        ("transcription", "warning"),
        ("chat model", "warning"),
        ("speech synthesis", "warning"),
    ]
    assert "2027-01-06" in findings[3].says
    assert all(finding.mend for finding in findings[1:])


async def test_a_refused_key_is_a_failure() -> None:
    """Nothing works without the key; it is not repeated."""
    async with StandInOpenAI() as server:
        config = config_of(server)
        server.api_key = "sk-another-0123456789"
        findings = await check_cascade(config)
    assert [finding.verdict for finding in findings[1:]] == ["failure"] * 3
    assert not any("sk-" in finding.says + finding.mend for finding in findings)


async def test_a_missing_extra_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages the doctor says what to install, and asks nobody."""
    monkeypatch.setattr(clients, "is_installed", lambda: False)
    (found,) = await check_cascade(Config())
    assert found.verdict == "failure"
    assert installing.pip_extra("cascade") in found.mend
