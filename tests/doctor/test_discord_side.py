"""What the doctor says of Discord, asked with a token."""

import asyncio
import contextlib
import functools

import pytest
from pydantic import SecretStr

from discordplex.config import Config, DiscordConfig
from discordplex.doctor.discord_side import check_discord, check_guild
from discordplex.doctor.finding import Finding
from discordplex.loopback.discord.server import LoopbackDiscord


async def ask(discord: LoopbackDiscord, token: str, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    monkeypatch.setenv("SSL_CERT_FILE", str(discord.ca_file))
    return await check_discord(Config(discord=DiscordConfig(token=SecretStr(token), api_url=f"{discord.api_url}/v10")))


async def test_a_good_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose it is, that the gateway answers, and one line for each server."""
    async with LoopbackDiscord() as discord:
        findings = await ask(discord, discord.bots[0].token, monkeypatch)
    assert {finding.verdict for finding in findings} == {"ok"}
    assert [finding.check for finding in findings] == ["token", "gateway", "server Lighthouse", "server Workshop"]


async def test_a_refused_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The failure says what to do, and the token is nowhere in it."""
    async with LoopbackDiscord() as discord:
        (finding,) = await ask(discord, "secret-but-wrong", monkeypatch)
    assert finding.verdict == "failure"
    assert "secret-but-wrong" not in f"{finding}"


async def test_discord_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there, or a certificate that nobody trusts: one sentence with the address and the reason in words."""
    async with LoopbackDiscord() as discord:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        config = Config(discord=DiscordConfig(token=SecretStr("any"), api_url=f"{discord.api_url}/v10"))
        (untrusted,) = await check_discord(config)
    (gone,) = await check_discord(config)
    assert untrusted.verdict == gone.verdict == "failure"
    assert config.discord.api_url in gone.says
    assert "its TLS certificate is not trusted" in untrusted.says
    assert "Connect call failed" in gone.says


HEADS = {"redirect": b"HTTP/1.1 307 Elsewhere\r\nLocation: %s\r\n", "answer": b"HTTP/1.1 200 OK\r\n"}


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("redirect", b"{}"),
        *[("answer", body) for body in (b"[]", b"null", b'"x"', b"[" * 99_999, b"<html>", b"", b" " * 2_000_000)],
        ("answer", b'{"id": "1", "url": "ws://%s"}'),
    ],
)
async def test_an_answer_of_another_kind_is_discord_out_of_reach(head: str, body: bytes) -> None:
    """One sentence, and the token goes nowhere but to the address that the settings name."""
    met: dict[str, list[bytes]] = {"here": [], "elsewhere": []}

    async def serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            met[name].append(await reader.readuntil(b"\r\n\r\n"))
            told = body.replace(b"%s", place.encode())
            begin = HEADS[head].replace(b"%s", f"http://{place}/".encode())
            writer.write(begin + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(told) + told)
            await writer.drain()
        writer.close()

    elsewhere = await asyncio.start_server(functools.partial(serve, "elsewhere"), "127.0.0.1", 0)
    place = f"127.0.0.1:{elsewhere.sockets[0].getsockname()[1]}"
    here = await asyncio.start_server(functools.partial(serve, "here"), "127.0.0.1", 0)
    api_url = f"http://127.0.0.1:{here.sockets[0].getsockname()[1]}/v10"
    findings = await check_discord(Config(discord=DiscordConfig(token=SecretStr("my-token"), api_url=api_url)))
    assert [finding.verdict for finding in findings].count("failure") == 1
    assert api_url in findings[-1].says
    assert all(b"my-token" in one for one in met["here"])
    assert not any(b"my-token" in one for one in met["elsewhere"])
    assert bool(met["elsewhere"]) == (b"ws://" in body)
    elsewhere.close()
    here.close()


async def test_no_token() -> None:
    """It says where a token goes."""
    (finding,) = await check_discord(Config())
    assert "DISCORDPLEX_DISCORD__TOKEN" in finding.mend


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        (0, "View Channels, Send Messages, Read Message History, Connect, Speak"),
        (1 << 10 | 1 << 11 | 1 << 16 | 1 << 20, "Speak"),
        (1 << 3, ""),
    ],
)
def test_missing_permissions_are_named(permissions: int, words: str) -> None:
    """What the roles lack is listed; an administrator lacks nothing."""
    finding = check_guild({"id": "1", "name": "Home", "permissions": str(permissions)})
    assert finding.verdict == ("warning" if words else "ok")
    assert words in finding.says
