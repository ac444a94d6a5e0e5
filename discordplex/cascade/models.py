"""Models and their ends: what servers say about the models that the stages want, for whoever checks before a call."""

import asyncio
import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from discordplex.cascade.clients import Clients
from discordplex.cascade.faults import NOUN, replacement, sentence
from discordplex.cascade.stage import Stage, StageName
from discordplex.config import CascadeConfig

OPENAI: Final = "api.openai.com"
SHUTDOWN_DATES: Final = {
    "whisper-1": "2027-02-26",
    "gpt-4o-transcribe": "2027-02-26",
    "gpt-4o-mini-transcribe": "2027-02-26",
    "gpt-4o-mini": "2027-01-14",
    "tts-1": "2027-01-06",
    "tts-1-hd": "2027-01-06",
    "gpt-4o-mini-tts": "2027-01-06",
}
"""OpenAI's, from its SDK's documentation of November 2026; what the server says goes before."""


@dataclass(frozen=True, slots=True)
class ModelFact:
    """What is known of one stage's model."""

    stage: StageName
    verdict: Literal["ok", "ends", "unlisted", "failed"]
    says: str
    mend: str = ""


async def examine_models(config: CascadeConfig, today: dt.date) -> list[ModelFact]:
    """One fact for each stage, in their order; asks each server for its list of models and nothing else. ConfigError without the extra."""
    stages = [Stage.of(config, "transcribe"), Stage.of(config, "think"), Stage.of(config, "speak")]
    clients = await asyncio.to_thread(Clients, stages)
    try:
        return [await examine(stage, clients, today) for stage in stages]
    finally:
        await clients.close()


async def examine(stage: Stage, clients: Clients, today: dt.date) -> ModelFact:
    """What the server of one stage says about its model."""
    try:
        options = {**clients.options(stage), "extra_body": None}
        page = await clients.of(stage).models.list(**options)
        models: Sequence[Any] = getattr(page, "data", None) or []
    except Exception as error:  # noqa: BLE001 -- whatever it is, `sentence` has words for it
        if getattr(error, "status_code", None) == 404:  # noqa: PLR2004 -- some local servers have no such list
            return ModelFact(stage.name, "unlisted", f"{stage.host} does not say which models it has.", "")
        return ModelFact(stage.name, "failed", sentence(error, stage), f"Look at {stage.url_setting} and {stage.key_setting}.")
    found = next((model for model in models if getattr(model, "id", None) == stage.model), None)
    if found is None:
        says = f'{stage.host} does not list "{stage.model}" among its {len(models)} models.'
        return ModelFact(stage.name, "unlisted", says, f"Set {stage.model_setting} to one that it has.")
    return judge(stage, getattr(found, "shutdown_date", None), today)


def judge(stage: Stage, told: object, today: dt.date) -> ModelFact:
    """A model that is there, for now."""
    known = SHUTDOWN_DATES.get(stage.model) if stage.host == OPENAI else None
    date = day(told) or day(known)
    if date is None:
        return ModelFact(stage.name, "ok", f'{NOUN[stage.name]} "{stage.model}" is there at {stage.host}.')
    days = (date - today).days
    left = f"in {days} days" if days > 0 else "today or earlier"
    return ModelFact(stage.name, "ends", f'"{stage.model}" is switched off at {stage.host} on {date} ({left}).', replacement(stage))


def day(text: object) -> dt.date | None:
    """A date as the API writes it, None for anything else."""
    try:
        return dt.date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
