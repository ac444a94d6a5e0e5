"""Whoever checks before a call learns which models end, and what to do."""

import datetime as dt

import pytest

from discordplex.config import CascadeConfig
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services.models import SHUTDOWN_DATES, examine_models, judge
from discordplex.services.service import Service, ServiceName

TODAY = dt.date(2026, 11, 20)
NAMES: tuple[ServiceName, ...] = ("transcribe", "think", "speak")


def changed(config: CascadeConfig, **models: str) -> CascadeConfig:
    services = {name: getattr(config, name).model_copy(update={"model": model}) for name, model in models.items()}
    return config.model_copy(update=services)


async def test_the_defaults_are_warned_of(config: CascadeConfig) -> None:
    """Each default model's end is told with its date, the days that are left, and what replaces it."""
    facts = await examine_models(config, NAMES, TODAY)
    assert [(fact.service, fact.verdict) for fact in facts] == [("transcribe", "ends"), ("think", "ends"), ("speak", "ends")]
    assert [fact.says.split(" on ")[1] for fact in facts] == [
        "2027-02-26 (in 98 days).",
        "2027-01-14 (in 55 days).",
        "2027-01-06 (in 47 days).",
    ]
    assert '"gpt-transcribe"' in facts[0].mend
    assert "cascade.speak.base_url" in facts[2].mend


async def test_models_without_an_end_are_well(config: CascadeConfig) -> None:
    """A model that stays is just there; one that the server does not have is named."""
    facts = await examine_models(changed(config, transcribe="gpt-transcribe", think="gpt-6-luna", speak="kokoro"), NAMES, TODAY)
    assert [fact.verdict for fact in facts] == ["ok", "ok", "unlisted"]
    assert facts[2].mend == "Set cascade.speak.model to one that it has."


async def test_a_server_that_cannot_be_asked_is_told(server: StandInOpenAI, config: CascadeConfig, closed_port: int) -> None:
    """A wrong key, a dead host and a server without a list are three different facts."""
    wrong = config.model_copy(update={"speak": config.speak.model_copy(update={"base_url": f"http://127.0.0.1:{closed_port}/v1"})})
    wrong = wrong.model_copy(update={"transcribe": config.transcribe.model_copy(update={"base_url": server.base_url[:-3]})})
    server.api_key = "another"
    facts = await examine_models(wrong, NAMES, TODAY)
    assert [fact.verdict for fact in facts] == ["unlisted", "failed", "failed"]
    assert "does not accept the API key" in facts[1].says
    assert "cannot be reached" in facts[2].says


@pytest.mark.parametrize(("told", "verdict"), [(None, "ends"), ("2030-01-01", "ends"), ("nonsense", "ends")])
def test_openai_s_own_dates_are_known(told: str | None, verdict: str) -> None:
    """Where OpenAI's server names no date the known one counts; at another host the same name means another model."""
    service = Service("speak", "https://api.openai.com/v1", "tts-1")
    assert judge(service, told, TODAY).verdict == verdict
    assert (SHUTDOWN_DATES["tts-1"] in judge(service, told, TODAY).says) == (told != "2030-01-01")
    assert judge(Service("speak", "http://localhost:8880/v1", "tts-1"), None, TODAY).verdict == "ok"
