"""Fixtures of this room: a stand-in server, and services that are served by it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.services.clients import Clients
from discordplex.services.service import Service
from tests.cascade.services import Services


@pytest.fixture
async def server() -> AsyncIterator[StandInOpenAI]:
    async with StandInOpenAI() as server:
        yield server


@pytest.fixture
def timeout_s() -> float:
    """How long a stage is waited for. A test in which one falls silent asks for less."""
    return 20.0


@pytest.fixture
def config(server: StandInOpenAI, timeout_s: float) -> CascadeConfig:
    """The default models, at the stand-in."""
    return config_of(server, timeout_s)


@pytest.fixture
async def services(config: CascadeConfig) -> AsyncIterator[Services]:
    found = [Service.of(config, name) for name in ("transcribe", "think", "speak")]
    clients = await asyncio.to_thread(Clients, found)
    yield Services(clients, *found, clock=SystemClock())
    await clients.close()


def config_of(server: StandInOpenAI, timeout_s: float = 20.0) -> CascadeConfig:
    patience = {"timeout_s": timeout_s}
    given = {"base_url": server.base_url, "api_key": server.api_key, "transcribe": patience, "think": patience, "speak": patience}
    return CascadeConfig.model_validate(given)
