"""Fixtures of this room: a stand-in server, and settings that name it."""

from collections.abc import AsyncIterator

import pytest

from discordplex.config import CascadeConfig
from discordplex.loopback.openai.server import StandInOpenAI


@pytest.fixture
async def server() -> AsyncIterator[StandInOpenAI]:
    async with StandInOpenAI() as server:
        yield server


@pytest.fixture
def config(server: StandInOpenAI) -> CascadeConfig:
    """The default models, at the stand-in."""
    return CascadeConfig.model_validate({"base_url": server.base_url, "api_key": server.api_key})
