"""One call whose every connection but UDP goes through a proxy, and one that a broken proxy does not touch."""

import pytest

from discordplex import network
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.personaplex.log import Connected
from discordplex.loopback.personaplex.server import StandInServer
from tests.home import home_with
from tests.proxies import http_proxy
from tests.voice.booth import noise


async def talk(engine: StandInServer, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """A person is heard and hears the bot; the ports of Discord and of the engine."""
    async with home_with(engine, monkeypatch=monkeypatch) as home:
        channel = home.lounge
        async with Person(home.discord, home.discord.people[0], channel.id) as person:
            await home.says(channel, "Go ahead")
            await person.say(noise(50, channels=1))
            await person.wait_for_audio(home.bot.id, 0.5, timeout_s=20)
        assert any(isinstance(entry, Connected) for entry in engine.log)
        return {home.discord.port, int(engine.url.split(":")[2].split("/")[0])}


async def test_rest_gateway_voice_gateway_and_engine_use_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each TCP connection of the bot is one that the proxy was asked for."""
    monkeypatch.setattr(network, "is_this_machine", lambda _: False)
    async with http_proxy() as seen, StandInServer(mode="echo") as engine:
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{seen.port}")
        ports = await talk(engine, monkeypatch)
    assert ports <= seen.ports
    assert len(seen.targets) >= 4


@pytest.mark.parametrize("value", ["http://127.0.0.1:9", "socks://nowhere.invalid", "gopher://h"])
async def test_on_this_machine_no_proxy_variable_matters(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead, unreachable, or of a kind that nobody knows."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SOCKS_PROXY"):
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    monkeypatch.setenv("NO_PROXY", "fd00::/8,[::1]:80,localhost")
    async with StandInServer(mode="echo") as engine:
        assert await talk(engine, monkeypatch)
