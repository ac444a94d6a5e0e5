"""What the doctor says about the ears beside an engine."""

import pytest

from discordplex import installing
from discordplex.config import Config
from discordplex.doctor.hearing import check_hearing
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services import clients


def config_of(server: StandInOpenAI) -> Config:
    return Config.model_validate({"hearing": {"enabled": True}, "cascade": {"base_url": server.base_url, "api_key": server.api_key}})


async def test_ears_that_are_off_are_not_checked() -> None:
    """Nobody is asked for anything."""
    assert await check_hearing(Config()) == []


async def test_the_transcription_s_model_is_checked_and_nothing_else() -> None:
    """The default model ends one day: that is a warning under the name of the ears."""
    async with StandInOpenAI() as server:
        (found,) = await check_hearing(config_of(server))
    assert (found.check, found.verdict) == ("ears", "warning")
    assert "whisper-1" in found.says


async def test_a_call_works_without_the_transcription() -> None:
    """A refused key is a warning: the call goes on without words of people."""
    async with StandInOpenAI() as server:
        config = config_of(server)
        server.api_key = "sk-another-0123456789"
        (found,) = await check_hearing(config)
    assert (found.check, found.verdict) == ("ears", "warning")
    assert "cascade.api_key" in found.mend


async def test_a_missing_extra_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` does not start without the packages, and the doctor says what to install."""
    monkeypatch.setattr(clients, "is_installed", lambda: False)
    (found,) = await check_hearing(Config.model_validate({"hearing": {"enabled": True}}))
    assert found.verdict == "failure"
    assert installing.pip_extra("cascade") in found.mend
