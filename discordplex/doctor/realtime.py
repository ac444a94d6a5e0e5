"""Whether the Realtime server takes the key and has the model: one cheap request, or with `deep` a session."""

import asyncio
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp

from discordplex.clock import SystemClock
from discordplex.config import Config
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.engine import Persona
from discordplex.errors import EngineError
from discordplex.metrics import Metrics
from discordplex.network import Connector, NetworkSettingError, ProxyFailedError
from discordplex.realtime import endings
from discordplex.realtime.dialects import Dialect, dialect_of, needs_key
from discordplex.realtime.provider import RealtimeProvider
from discordplex.tasks import wait_for

TIMEOUT_S: Final = 10.0
HTTP: Final = {"ws": "http", "wss": "https"}
SET_KEY: Final = "Set DISCORDPLEX_REALTIME__API_KEY."
FOUND, UNAUTHORISED, FORBIDDEN, NOT_FOUND = 200, 401, 403, 404


async def check_realtime(config: Config, *, deep: bool) -> list[Finding]:
    """Check the persona, the dialect, and the server. `deep` opens a session, which may cost money."""
    settings, persona = config.realtime, config.persona_of("realtime")
    provider = RealtimeProvider(settings, clock=SystemClock())
    dialect = dialect_of(settings.dialect, settings.url, settings.model)
    refusal = provider.check(persona.voice, persona.text_prompt)
    return [
        failure("persona", refusal, "Change realtime.voice or realtime.instructions.")
        if refusal
        else ok("persona", f"Voice {persona.voice or 'of the service'}, a prompt of {len(persona.text_prompt)} characters."),
        ok("dialect", f"The bot speaks the dialect {dialect.name} to {dialect.service}."),
        await check_server(config, provider, dialect, deep=deep),
    ]


async def check_server(config: Config, provider: RealtimeProvider, dialect: Dialect, *, deep: bool) -> Finding:
    """Ask the server, if there is what it needs to be asked."""
    persona = config.persona_of("realtime")
    if config.realtime.api_key is None and needs_key(config.realtime.url):
        return failure("engine", f"{dialect.service} needs a key, and realtime.api_key is not set.", SET_KEY)
    if deep:
        return await check_session(provider, Persona(persona.voice, persona.text_prompt), dialect)
    return await check_model(config, dialect)


async def check_session(provider: RealtimeProvider, persona: Persona, dialect: Dialect) -> Finding:
    """Open a session and close it."""
    lease = provider.acquire()
    if lease is None:
        return failure("engine", "realtime.max_calls allows no session.", "Set it to 1 or more.")
    try:
        async with lease.open(persona, Metrics()):
            return ok("engine", f"{dialect.service} has opened a session.")
    except EngineError as fault:
        return failure("engine", str(fault), "Do what the sentence says, then run this again.")
    finally:
        provider.release(lease)


async def check_model(config: Config, dialect: Dialect) -> Finding:
    """Ask for the model by name, as the service's own clients do."""
    key = config.realtime.api_key
    try:
        asking = status_of(models_url(config.realtime.url, config.realtime.model), dialect.headers(key.get_secret_value() if key else None))
        status = await wait_for(asking, TIMEOUT_S)
    except (NetworkSettingError, ProxyFailedError) as fault:
        return failure("engine", fault.full, "Start the proxy, or change the variable.")
    except (aiohttp.ClientError, OSError, asyncio.TimeoutError):
        return failure("engine", endings.unreachable(dialect.service).reason, "Start the server, or correct realtime.url.")
    if status == FOUND:
        return ok("engine", f"{dialect.service} takes the key and has the model {config.realtime.model}.")
    if status in (UNAUTHORISED, FORBIDDEN):
        return failure("engine", endings.refused(dialect.service, status).reason, SET_KEY)
    if status == NOT_FOUND and dialect.voices:
        return failure("engine", endings.no_model(dialect.service).reason, "Set realtime.model to one that the account has.")
    return warning(
        "engine", f"{dialect.service} answers, but does not say whether it has the model (HTTP {status}).", "Run: discordplex doctor --deep"
    )


async def status_of(url: str, headers: dict[str, str]) -> int:
    """The HTTP status of a request. No redirect is followed: the key is for this server only."""
    async with (
        aiohttp.ClientSession(connector=Connector()) as session,
        session.get(url, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status


def models_url(base: str, model: str) -> str:
    """Where the service tells of a model: beside its sessions."""
    parts = urlsplit(base)
    path = parts.path.removesuffix("/realtime").removesuffix("/live/sessions")
    return urlunsplit((HTTP.get(parts.scheme, parts.scheme), parts.netloc, f"{path}/models/{quote(model, safe='')}", "", ""))
