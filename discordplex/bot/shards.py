"""Shards: into how many gateway connections Discord wants a bot divided, which guild belongs to which, and how their logins are spaced."""

import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from discordplex.bot import texts
from discordplex.bot.rate_limits import BoundedResponse
from discordplex.clock import Clock
from discordplex.errors import DiscordplexError, LoginError
from discordplex.network import Connector
from discordplex.retry import Backoff
from discordplex.sharding import shard_of

IDENTIFY_S: Final = 5.0
"""The time in which `max_concurrency` shards may log in (documented)."""

LEAD_S: Final = 2.0
"""How long before its turn among the shards of all processes a shard connects."""

MISSED_S: Final = 2.0
"""How late a shard may be for its turn among the shards of all processes."""

MOST_SHARDS: Final = 1024
"""The most connections of one process: each is a client of its own. Discord recommends one for about 1,000 guilds."""

ASK_TIMEOUT_S: Final = 20.0
LONGEST_ANSWER: Final = 65_536
LONGEST_ID: Final = 20
"""Digits of a number of 64 bits."""

UNAUTHORIZED, NOT_FOUND, OK = 401, 404, 200

NOT_DISCORD = "the answer is not from Discord"
"""Why Discord cannot be reached if a proxy or a failing server answers instead, with data of another shape."""


class AskError(DiscordplexError):
    """Discord did not say how many shards it wants. The text says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of the gateway connections of a bot."""

    number: int
    """From 0."""
    count: int

    def covers(self, guild_id: int) -> bool:
        """Whether Discord sends this guild's events to this shard."""
        return shard_of(guild_id, self.count) == self.number


WHOLE: Final = Shard(0, 1)
"""The only connection of a bot that is not divided."""


@dataclass(frozen=True, slots=True)
class GatewayAdvice:
    """What `/gateway/bot` says."""

    shards: int = 1
    """How many connections Discord recommends."""
    max_concurrency: int = 1
    """How many of them may log in within `IDENTIFY_S`."""
    logins_left: int | None = None
    """How many logins are left for today; None if Discord does not say."""


class Pace:
    """Limits how often a session is started. The pause doubles each time, until a session has lasted. Pure."""

    def __init__(self, *, first_s: float, longest_s: float, lasting_s: float) -> None:
        """The pause between two starts grows from `first_s` to `longest_s`; after `lasting_s` without a start it is short again."""
        self._backoff = Backoff(first_s, longest_s)
        self._lasting_s = lasting_s
        self._pause_s = 0.0
        self._begun_at = float("-inf")

    def wait_s(self, now: float) -> float:
        """Seconds until the next start is allowed; 0 if it is allowed now."""
        return max(0.0, self._begun_at + self._pause_s - now)

    def begin(self, now: float) -> None:
        """Note a start."""
        if now - self._begun_at >= self._lasting_s:
            self._backoff.reset()
        self._pause_s = self._backoff.failed()
        self._begun_at = now


def pace_of_identifies(shards: int = 1) -> Pace:
    """Discord allows 1,000 identifies a day, and resets the bot's token after more. At this pace all shards have at most about 720."""
    return Pace(first_s=5.0, longest_s=120.0 * shards, lasting_s=600.0 * shards)


class LoginTurns:
    """When each shard may log in. Shared by all logins of a process. Pure.

    Discord lets `max_concurrency` shards log in within `IDENTIFY_S`: it counts those with the same remainder by it together.
    """

    def __init__(self, new_pace: Callable[[Shard], Pace] = lambda shard: pace_of_identifies(shard.count)) -> None:
        """`new_pace` limits how often one shard logs in."""
        self.max_concurrency = 1
        self._new_pace = new_pace
        self._paces: dict[Shard, Pace] = {}
        self._free_at: dict[int, float] = {}
        self._booked: dict[Shard, float] = {}

    def wait_s(self, shard: Shard, now: float) -> float:
        """Seconds until this shard's turn, which is kept for it until `begin`."""
        if shard not in self._booked:
            group = self._group(shard)
            at = self._booked[shard] = max(now + self._pace(shard).wait_s(now), self._free_at.get(group, now))
            if shard != WHOLE:
                self._free_at[group] = at + IDENTIFY_S
        return max(0.0, self._booked[shard] - now)

    async def turn_s(self, shard: Shard, now: float) -> float:
        """As `wait_s`. Ask again after the wait: 0 means that the shard may connect and log in."""
        return self.wait_s(shard, now)

    async def identify_s(self, shard: Shard, now: float) -> float:  # noqa: ARG002 -- for `ClusterTurns`
        """Seconds until a shard that is connected may identify. Ask again after the wait."""
        return 0.0

    def begin(self, shard: Shard, now: float) -> None:
        """The shard logs in now."""
        self._booked.pop(shard, None)
        self._pace(shard).begin(now)
        if shard != WHOLE:  # its own pace is slow enough
            self._free_at[self._group(shard)] = max(self._free_at.get(self._group(shard), now), now + IDENTIFY_S)

    def _pace(self, shard: Shard) -> Pace:
        return self._paces.setdefault(shard, self._new_pace(shard))

    def _group(self, shard: Shard) -> int:
        return shard.number % self.max_concurrency


class ClusterTurns(LoginTurns):
    """When each shard may log in, where other processes have shards of the same bot."""

    def __init__(self, book: Callable[[int, int], Awaitable[float]], clock: Clock) -> None:
        """`book` takes a shard and `max_concurrency`, and says in how many seconds its turn is, which is kept for it over all processes."""
        super().__init__()
        self._book = book
        self._clock = clock
        self._turns: dict[Shard, float] = {}

    async def turn_s(self, shard: Shard, now: float) -> float:
        """Seconds until this shard may connect, a little before its turn: how long that takes shall not shift its identify."""
        return self._pace(shard).wait_s(now) or max(0.0, await self.identify_s(shard, now) - LEAD_S)

    async def identify_s(self, shard: Shard, now: float) -> float:
        """Seconds until this shard's turn. A turn that was missed is lost."""
        if now > self._turns.get(shard, float("-inf")) + MISSED_S:
            wait_s = await self._book(shard.number, self.max_concurrency)
            now = self._clock.now()  # the database may have taken its time
            self._turns[shard] = now + wait_s
        return max(0.0, self._turns[shard] - now)

    def begin(self, shard: Shard, now: float) -> None:
        """The shard logs in now."""
        self._turns.pop(shard, None)
        self._pace(shard).begin(now)


async def ask(api_url: str, token: str) -> GatewayAdvice:
    """Ask Discord into how many connections this bot shall be divided.

    Raises:
        LoginError: Discord refuses the token.
        AskError: there is no answer, or none that can be read.
        aiohttp.ClientError, OSError, asyncio.TimeoutError: Discord cannot be reached.
    """
    body = await answer_of(f"{api_url}/gateway/bot", token)
    return GatewayAdvice() if body is None else advice(body)  # a server without this path does not divide bots


async def ask_who(api_url: str, token: str) -> str:
    """Ask Discord for the id of the bot's user. Raises as `ask` does."""
    body = await answer_of(f"{api_url}/users/@me", token)
    with contextlib.suppress(ValueError, TypeError, KeyError):
        user_id = json.loads(body or b"")["id"]
        if isinstance(user_id, str) and user_id.isascii() and user_id.isdigit() and len(user_id) <= LONGEST_ID:
            return user_id
    raise AskError(NOT_DISCORD)


async def answer_of(url: str, token: str) -> bytes | None:
    """The body of an answer; None if there is nothing at this address. Raises as `ask` does."""
    connector = Connector(response_class=BoundedResponse)
    headers, timeout = {"Authorization": f"Bot {token}"}, aiohttp.ClientTimeout(total=ASK_TIMEOUT_S)
    async with (
        aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout) as session,
        session.get(url, allow_redirects=False) as answer,
    ):
        if answer.status == UNAUTHORIZED:
            raise LoginError(texts.calls.LOGIN_REFUSED)
        if answer.status == NOT_FOUND:
            return None
        if answer.status != OK:
            raise AskError(f"HTTP status {answer.status}")
        return await read_all(answer.content)


async def read_all(content: aiohttp.StreamReader) -> bytes:
    """The body, or its beginning where it is longer than any answer to this question."""
    body = b""
    while len(body) < LONGEST_ANSWER and (piece := await content.read(LONGEST_ANSWER)):
        body += piece
    return body


def advice(body: bytes) -> GatewayAdvice:
    """Read the answer. Raises AskError if it has another shape."""
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found: dict[str, Any] = json.loads(body)
        limit = found.get("session_start_limit") or {}
        shards, at_once, left = int(found["shards"]), int(limit.get("max_concurrency", 1)), limit.get("remaining")
        if 1 <= shards <= MOST_SHARDS and at_once >= 1:
            return GatewayAdvice(shards, at_once, None if left is None else int(left))
    raise AskError(NOT_DISCORD)
