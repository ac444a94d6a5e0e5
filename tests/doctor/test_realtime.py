"""What the doctor says about a Realtime server."""

import pytest

from discordplex.config import Config
from discordplex.doctor.engines import check_engines
from discordplex.doctor.realtime import models_url
from discordplex.loopback.openai.realtime.server import RealtimeServer

KEY = "sk-proj-0123456789abcdef"


def config_of(server: RealtimeServer, **changes: str) -> Config:
    return Config.model_validate({"engine": {"kind": "realtime"}, "realtime": {"url": server.url, "api_key": KEY, **changes}})


@pytest.mark.parametrize("deep", [False, True])
async def test_a_server_that_works(*, deep: bool) -> None:
    """It says which dialect the bot speaks; only with --deep a session is opened."""
    async with RealtimeServer(key=KEY) as server:
        findings = await check_engines(config_of(server), deep=deep)
        assert [(one.check, one.verdict) for one in findings] == [("persona", "ok"), ("dialect", "ok"), ("engine", "ok")]
        assert "openai" in findings[1].says
        assert len(server.sessions) == deep


@pytest.mark.parametrize("deep", [False, True])
async def test_a_refused_key_is_a_failure(*, deep: bool) -> None:
    """It names the setting and not the key."""
    async with RealtimeServer(key="sk-proj-another-key-0123") as server:
        found = (await check_engines(config_of(server), deep=deep))[-1]
    assert found.verdict == "failure"
    assert "realtime.api_key" in found.says
    assert "sk-" not in found.says + found.mend


@pytest.mark.parametrize("deep", [False, True])
async def test_a_service_is_not_asked_without_a_key(*, deep: bool) -> None:
    """The settings alone say what is missing."""
    found = (await check_engines(Config.model_validate({"engine": {"kind": "realtime"}}), deep=deep))[-1]
    assert (found.verdict, found.says) == ("failure", "OpenAI Realtime needs a key, and realtime.api_key is not set.")
    assert found.mend == "Set DISCORDPLEX_REALTIME__API_KEY."


async def test_a_model_that_it_does_not_have_is_seen_by_a_session() -> None:
    """A server of one's own may list no models: the cheap request only warns."""
    async with RealtimeServer(key=KEY) as server:
        config = config_of(server, model="no-such-model")
        assert (await check_engines(config))[-1].verdict == "warning"
        assert (await check_engines(config, deep=True))[-1].verdict == "failure"


async def test_nobody_there() -> None:
    """A failure that names the setting."""
    config = Config.model_validate({"engine": {"kind": "realtime"}, "realtime": {"url": "http://127.0.0.1:9/v1"}})
    found = (await check_engines(config))[-1]
    assert found.verdict == "failure"
    assert "realtime.url" in found.says + found.mend


def test_where_models_are() -> None:
    """Beside the sessions, by HTTP."""
    assert models_url("https://api.openai.com/v1", "a/b") == "https://api.openai.com/v1/models/a%2Fb"
    assert models_url("wss://x/v1/realtime?duplex=1", "m") == "https://x/v1/models/m"
    assert models_url("https://api.openai.com/v1/live/sessions", "m") == "https://api.openai.com/v1/models/m"
