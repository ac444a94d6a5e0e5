"""What the doctor says of `monitoring.listen` and `monitoring.traces_url`."""

import importlib.util
import socket
import sys

import pytest
from aiohttp import web
from pydantic import SecretStr

from discordplex import installing
from discordplex.config import MonitoringConfig
from discordplex.doctor.finding import Finding
from discordplex.doctor.monitoring import check_monitoring, check_traces

FIND_SPEC = importlib.util.find_spec


async def verdict(listen: str, password: str | None = None) -> tuple[str, str]:
    """The one finding: its verdict and everything that it says."""
    (found,) = await check_monitoring(MonitoringConfig(listen=listen, password=SecretStr(password) if password else None))
    assert isinstance(found, Finding)
    return found.verdict, f"{found.says} {found.mend}"


async def test_nothing_listens_and_nothing_is_said() -> None:
    """The default."""
    assert await check_monitoring(MonitoringConfig()) == []


async def test_an_address_that_works() -> None:
    """It says where the page will be, and what guards it."""
    pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")
    assert await verdict("127.0.0.1:0") == ("ok", "The status page and /metrics will be at http://127.0.0.1:0/, open to this machine. ")
    assert "guarded by monitoring.password" in (await verdict("0.0.0.0:0", "correct horse battery"))[1]


async def test_other_machines_need_a_password() -> None:
    """The bot would not start."""
    found, says = await verdict("0.0.0.0:9464")
    assert found == "failure"
    assert "DISCORDPLEX_MONITORING__PASSWORD" in says


async def test_the_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command stands there."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "prometheus_client" else FIND_SPEC(name))
    found, says = await verdict("127.0.0.1:0")
    assert found == "failure"
    assert installing.pip_extra("monitoring") in says


async def test_addresses_that_do_not_work() -> None:
    """A port that is taken may be the bot's own; an address that is not ours is wrong."""
    pytest.importorskip("prometheus_client", reason="the extra `monitoring` is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found, says = await verdict(f"127.0.0.1:{taken.getsockname()[1]}")
    assert found == "warning"
    assert "listens there" in says
    assert (await verdict("203.0.113.1:0", "correct horse battery"))[0] == "failure"


async def traced(url: str | None) -> list[tuple[str, str]]:
    """Each finding about traces: its verdict and everything that it says."""
    return [(found.verdict, f"{found.says} {found.mend}") for found in await check_traces(MonitoringConfig(traces_url=url))]


async def test_a_collector_that_answers_and_one_that_does_not() -> None:
    """The bot works without it: that is a warning. Nothing is said where there are no traces."""
    assert await traced(None) == []
    ((verdict_away, says),) = await traced("http://127.0.0.1:9")
    assert (verdict_away, "monitoring.traces_url" in says) == ("warning", True)

    async def answer(_request: web.BaseRequest) -> web.Response:
        return web.Response(status=404)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        assert [verdict for verdict, _ in await traced(f"http://127.0.0.1:{runner.addresses[0][1]}")] == ["ok"]
    finally:
        await runner.cleanup()


async def test_traces_without_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bot would not start; the finding has the command."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "discordplex.monitoring.traces", raising=False)
    ((found, says),) = await traced("http://127.0.0.1:4318")
    assert (found, installing.pip_extra("otel") in says) == ("failure", True)
