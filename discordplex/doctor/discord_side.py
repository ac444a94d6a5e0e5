"""Checks of the token, the gateway and the permissions, over Discord's REST API."""

import asyncio
import json
from typing import Any

import aiohttp

from discordplex.config import Config
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.network import Connector, ProxyFailedError, unreachable_because

REQUEST_TIMEOUT_S = 10.0
WANTED = {
    "View Channels": 1 << 10,
    "Send Messages": 1 << 11,
    "Read Message History": 1 << 16,
    "Connect": 1 << 20,
    "Speak": 1 << 21,
}
"""Permission bits of Discord's API reference."""
ADMINISTRATOR = 1 << 3
UNAUTHORIZED = 401
REDIRECTS = range(300, 400)
MOST_BYTES = 1 << 20
"""Limit of one answer: two hundred servers are 60 kB."""


async def check_discord(config: Config) -> list[Finding]:
    """Check the token, the gateway, and the bot's permissions in each server."""
    token = config.discord.token
    if token is None or not token.get_secret_value():
        return [failure("token", "There is no bot token.", "Set DISCORDPLEX_DISCORD__TOKEN, or discord.token in the configuration file.")]
    session = aiohttp.ClientSession(
        connector=Connector(),
        headers={"Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S),
    )
    findings: list[Finding] = []
    async with session:
        try:
            await ask(session, config.discord.api_url, token.get_secret_value(), findings)
        except ProxyFailedError as fault:
            findings.append(failure("discord", str(fault), "Start the proxy, or change the variable."))
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as fault:
            findings.append(out_of_reach(config, unreachable_because(fault)))
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
            findings.append(out_of_reach(config, "the answer is not from Discord"))
    return findings


def out_of_reach(config: Config, why: str) -> Finding:
    """Discord cannot be reached; `run` says it in the same words."""
    says = f"Discord cannot be reached at {config.discord.api_url} ({why})."
    return failure("discord", says, "Check the network, discord.api_url and SSL_CERT_FILE.")


async def ask(session: aiohttp.ClientSession, api_url: str, token: str, findings: list[Finding]) -> None:
    """Send one request after the other and add the findings; stop at a refused token."""
    status, user = await get(session, f"{api_url}/users/@me", token)
    if status == UNAUTHORIZED:
        findings.append(
            failure(
                "token", "Discord refuses the bot token.", "Copy it again from the developer portal: your application, Bot, Reset Token."
            )
        )
        return
    findings.append(ok("token", f"The token belongs to {user.get('username', 'a user')} ({user.get('id', '?')})."))
    findings.append(await check_gateway(session, api_url, token))
    _, guilds = await get(session, f"{api_url}/users/@me/guilds", token)
    if not guilds:
        findings.append(warning("servers", "The bot is in no server.", "Invite it with the URL that the README describes."))
    for guild in guilds:
        findings.append(check_guild(guild))  # noqa: PERF401 -- one that cannot be read hides no earlier one


async def check_gateway(session: aiohttp.ClientSession, api_url: str, token: str) -> Finding:
    """Whether the gateway says hello."""
    _, gateway = await get(session, f"{api_url}/gateway", token)
    async with session.ws_connect(f"{gateway['url']}?v=10&encoding=json") as socket:
        hello = await socket.receive_json(timeout=REQUEST_TIMEOUT_S)
    if hello.get("op") != 10:  # noqa: PLR2004 -- the gateway's hello
        return failure("gateway", "Discord's gateway did not answer with a hello.", "Try again later; see discordstatus.com.")
    return ok("gateway", "Discord's gateway answers.")


def check_guild(guild: dict[str, Any]) -> Finding:
    """Whether the bot has the permissions that a call needs in this server. Channels may still deny them."""
    name, granted = guild.get("name", guild["id"]), int(guild.get("permissions", 0))
    missing = [] if granted & ADMINISTRATOR else [wanted for wanted, bit in WANTED.items() if not granted & bit]
    if missing:
        return warning(f"server {name}", f"The bot's roles lack: {', '.join(missing)}.", "Grant them in the server settings, under Roles.")
    return ok(f"server {name}", "The bot may see channels, write, connect and speak.")


async def get(session: aiohttp.ClientSession, url: str, token: str) -> tuple[int, Any]:
    """One GET: its status and its JSON. The token goes nowhere else. Raises ValueError for a redirect, and for too long an answer."""
    async with session.get(url, headers={"Authorization": f"Bot {token}"}, allow_redirects=False) as response:
        data = bytearray()
        async for piece in response.content.iter_any():
            data += piece
            if len(data) > MOST_BYTES:
                raise ValueError
        if response.status in REDIRECTS:
            raise ValueError
        return response.status, json.loads(data)
