"""Models and their ends: what servers say about the models that the stages want, for whoever checks before a call."""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from discordplex.cascade.answer import json_messages
from discordplex.cascade.clients import Clients, Request
from discordplex.cascade.faults import NOUN, StageError, replacement, sentence
from discordplex.cascade.stage import Stage, StageName
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig

PATH: Final = "/models"
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
        async with clients.ask(stage, Request(PATH), SystemClock()) as answer:
            models = model_list(next(json_messages(await answer.whole(), stage)))
    except StageError as fault:
        if fault.cause == "HTTP 404":  # some local servers have no such list
            return ModelFact(stage.name, "unlisted", f"{stage.host} does not say which models it has.", "")
        says = sentence(fault.__cause__ or fault, stage, stage.host)
        return ModelFact(stage.name, "failed", says, f"Look at {stage.url_setting} and {stage.key_setting}.")
    found = next((model for model in models if model.get("id") == stage.model), None)
    if found is None:
        says = f'{stage.host} does not list "{stage.model}" among its {len(models)} models.'
        return ModelFact(stage.name, "unlisted", says, f"Set {stage.model_setting} to one that it has.")
    return judge(stage, found.get("shutdown_date"), today)


def model_list(message: Any) -> Sequence[Mapping[str, Any]]:
    """The models in a server's list; some servers send the bare list."""
    found = message.get("data") if isinstance(message, Mapping) else message
    return [model for model in found if isinstance(model, Mapping)] if isinstance(found, list) else []


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
