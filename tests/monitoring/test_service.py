"""A real bot on the loopback Discord, seen from outside."""

import asyncio
import re
import subprocess
import sys

import pytest

from discordplex.bot import application
from discordplex.clock import SystemClock
from discordplex.config import MonitoringConfig
from discordplex.errors import ConfigError
from discordplex.installing import pip_extra
from discordplex.metrics import Metrics
from discordplex.overview import StoreState
from discordplex.tracing import CALL, CALL_NEXT, CALL_NUMBER, ENGINE_KIND, JOIN, OPEN_ENGINE
from tests.home import Home
from tests.monitoring.conftest import observed
from tests.traced import recorded


async def test_a_call_from_outside(home: Home) -> None:
    """Before, during and after it: readiness, calls, people and engines are what they are on Discord."""
    async with observed(home) as seen:
        await seen.becomes(True, discord="connected", engines="free", calls="none", store="memory only")
        home.discord.enter(home.ada, home.lounge)
        home.discord.enter(home.ben, home.study)
        await home.listens()
        await seen.becomes(True, engines="busy", calls="running")
        assert (await seen.get("/healthz")) == (200, "ok\n")
        assert await seen.metric("people") == 1
        assert await seen.metric("guilds") == len(home.discord.guilds)
        frames = await seen.metric("uplink_frames_total")
        home.discord.leave(home.ada)
        home.discord.leave(home.ben)
        await seen.becomes(True, engines="free", calls="none")
        assert await seen.metric("people") == 0
        assert await seen.metric("uplink_frames_total") >= frames


async def test_a_call_is_traced(home: Home) -> None:
    """Its start, its join, its engine, its end, as one trace; not where it was, nor who was in it."""
    async with recorded() as found:
        home.metrics.span = found.root
        async with home.bot_running():
            home.discord.enter(home.ada, home.lounge)
            await home.listens()
            home.discord.leave(home.ada)
            await home.sits_in(None)
        assert found.paths() == [CALL, f"{CALL} > {JOIN}", f"{CALL} > {OPEN_ENGINE}"]
        call, join, engine = found.spans
        assert dict(call.attributes) == {CALL_NUMBER: 1, CALL_NEXT: "done"}
        assert dict(join.attributes) == {}
        assert dict(engine.attributes) == {ENGINE_KIND: "personaplex"}
        sent = "".join(span.to_json() for span in found.spans)
        ids = (home.guild.id, home.lounge.id, home.ada.id, home.bot.id)
        assert not [one for one in (*ids, home.guild.name, home.lounge.name, home.ada.name, "127.0.0.1") if one in sent]


async def test_the_gateway_is_lost_and_comes_back(home: Home) -> None:
    """Not ready in between, although the process thinks of calls."""
    async with observed(home) as seen:
        await seen.becomes(True)
        home.discord.gateway.refuse_connections = True
        await home.discord.gateway.drop()
        await seen.becomes(False, discord="reconnecting", engines="free")
        home.discord.gateway.refuse_connections = False
        await seen.becomes(True, 20, discord="connected")


async def test_logins_that_fail(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers at Discord's address."""
    monkeypatch.setattr(application, "FIRST_PAUSE_S", 60)

    async with observed(home, api_url="https://127.0.0.1:9/api/v10") as seen:
        await seen.becomes(False, discord="unreachable")
        assert (await seen.get("/healthz"))[0] == 200


async def test_every_engine_server_has_failed(home: Home) -> None:
    """Somebody waits for an engine that is not there: its lease does not count as a call that is held."""
    async with observed(home, urls=("ws://127.0.0.1:9/api/chat", "ws://127.0.0.1:19/api/chat")) as seen:
        await seen.becomes(True, engines="free")
        home.discord.enter(home.ada, home.lounge)
        await seen.becomes(False, discord="connected", engines="failed")
        assert await seen.metric("engine_failed") == 2


async def test_the_database_goes_away(home: Home) -> None:
    """Calls work without it; /readyz names it."""
    state: StoreState = "ok"

    async def store_state() -> StoreState:
        return state

    async with observed(home) as seen:
        seen.sampler.observe(seen.application, store_state)
        await seen.becomes(True, store="ok")
        state = "away"
        await seen.becomes(True, store="away")
        assert await seen.metric("store_available") == 0


async def test_while_it_stops_it_is_not_ready(home: Home) -> None:
    """Nobody shall send it work any more."""
    async with observed(home) as seen:
        await seen.becomes(True)
        seen.application.stop()
        status, parts = await seen.ready()
        assert (status, parts["discord"]) == (503, "stopping")


async def test_a_password_guards_all_but_the_probes(home: Home) -> None:
    """Asked for in a way that browsers understand."""
    async with observed(home, password="correct horse battery") as seen:
        assert (await seen.get("/metrics"))[0] == 401
        assert (await seen.get("/healthz"))[0] == 200
        assert (await seen.get("/metrics", Authorization="Basic YTpjb3JyZWN0IGhvcnNlIGJhdHRlcnk="))[0] == 200


async def test_many_scrapes_while_calls_begin_and_end(home: Home) -> None:
    """A scrape at any moment of a call has every family once, and no counter falls."""
    async with observed(home) as seen:
        await seen.becomes(True)
        last = 0.0
        for turn in range(3):
            home.discord.enter(home.ada, home.lounge)
            await home.listens(turn + 1)
            for _ in range(5):
                frames = await seen.metric("uplink_frames_total")
                assert frames >= last
                last = frames
            home.discord.leave(home.ada)
            await asyncio.gather(*(seen.get("/metrics") for _ in range(10)), home.sits_in(None))


async def test_what_is_missing_is_said_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, before anything listens."""
    from discordplex import monitoring as room  # noqa: PLC0415 -- likewise
    from discordplex.monitoring.service import monitoring  # noqa: PLC0415 -- imported only by who uses it

    for name in [name for name in sys.modules if name.startswith("prometheus_client")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "discordplex.monitoring.exposition", raising=False)
    monkeypatch.delattr(room, "exposition", raising=False)
    with pytest.raises(ConfigError, match=re.escape(pip_extra("monitoring"))):
        async with monitoring(MonitoringConfig(listen="127.0.0.1:0"), metrics=Metrics(), clock=SystemClock()):
            pass


def test_a_bot_that_nobody_watches_imports_none_of_it() -> None:
    """What is not configured costs nothing: no server, no metrics library, not even the room. Nor does a cluster."""
    program = "import sys, discordplex.app; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603 -- ours
    assert "discordplex.bot.application" in modules
    assert [
        name for name in modules if name.startswith(("discordplex.monitoring", "discordplex.cluster", "prometheus_client", "aiohttp.web"))
    ] == []
