"""What servers say about the configured models, for checks before a call."""

import asyncio
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.services.clients import Clients, Request
from discordplex.services.faults import NOUN, ServiceError, replacement, sentence
from discordplex.services.response import json_messages
from discordplex.services.service import Service, ServiceName

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
"""Shutdown dates of OpenAI's models, from its SDK's documentation of November 2026; what the server says takes precedence."""


@dataclass(frozen=True, slots=True)
class ModelFact:
    """What is known of one service's model."""

    service: ServiceName
    verdict: Literal["ok", "ends", "unlisted", "failed"]
    says: str
    mend: str = ""


async def examine_models(config: CascadeConfig, names: Sequence[ServiceName], today: dt.date) -> list[ModelFact]:
    """One fact for each of these services; asks each server only for its list of models. Raises ConfigError without the extra."""
    services = [Service.of(config, name) for name in names]
    clients = await asyncio.to_thread(Clients, services)
    try:
        return [await examine(service, clients, today) for service in services]
    finally:
        await clients.close()


async def examine(service: Service, clients: Clients, today: dt.date) -> ModelFact:
    """What the server of one service says about its model."""
    try:
        async with clients.ask(service, Request(PATH), SystemClock()) as answer:
            models = model_list(next(json_messages(await answer.whole(), service)))
    except ServiceError as fault:
        if fault.cause == "HTTP 404":  # some local servers have no such list
            return ModelFact(service.name, "unlisted", f"{service.host} does not say which models it has.", "")
        says = sentence(fault.__cause__ or fault, service, service.host)
        return ModelFact(service.name, "failed", says, f"Check {service.url_setting} and {service.key_setting}.")
    found = next((model for model in models if model.get("id") == service.model), None)
    if found is None:
        says = f'{service.host} does not list "{service.model}" among its {len(models)} models.'
        return ModelFact(service.name, "unlisted", says, f"Set {service.model_setting} to one that it has.")
    return judge(service, found.get("shutdown_date"), today)


def model_list(message: Any) -> Sequence[Mapping[str, Any]]:
    """The models in a server's list; some servers send the bare list."""
    found = message.get("data") if isinstance(message, Mapping) else message
    return [model for model in found if isinstance(model, Mapping)] if isinstance(found, list) else []


def judge(service: Service, told: object, today: dt.date) -> ModelFact:
    """The fact for a model that exists, for now."""
    known = SHUTDOWN_DATES.get(service.model) if service.host == OPENAI else None
    date = day(told) or day(known)
    if date is None:
        return ModelFact(service.name, "ok", f'{NOUN[service.name]} "{service.model}" is there at {service.host}.')
    days = (date - today).days
    left = f"in {days} days" if days > 0 else "today or earlier"
    return ModelFact(service.name, "ends", f'"{service.model}" is switched off at {service.host} on {date} ({left}).', replacement(service))


def day(text: object) -> dt.date | None:
    """A date as the API writes it, None for anything else."""
    try:
        return dt.date.fromisoformat(str(text)[:10])
    except ValueError:
        return None
