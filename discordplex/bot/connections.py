"""GatewayConnections: the gateway connections of one login, one client for each shard."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Protocol

import aiohttp
import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.chat.poster import UNREADABLE
from discordplex.bot.client import GatewayClient, SessionsFailError
from discordplex.bot.shards import NOT_DISCORD, LoginTurns, Shard
from discordplex.clock import Clock
from discordplex.errors import LoginError
from discordplex.logs import place_of
from discordplex.network import unreachable_because
from discordplex.retry import Backoff
from discordplex.tasks import until

log = structlog.get_logger()

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""The pause before a shard that failed is connected again doubles from the first to the longest."""

STUCK_S = 30.0
"""How long a shard may fail, while another one is connected, before its owner is told."""

SHORT_SESSIONS = "its sessions end as soon as they begin"
"""Why Discord counts as unreachable although it accepts each login."""

TOO_FEW_SHARDS = "it wants more gateway connections than there are"
"""Why a login ends where the bot has come into more servers than its shards may serve."""

UNREACHABLE = (aiohttp.ClientError, OSError, asyncio.TimeoutError, discord.HTTPException, discord.GatewayNotFound)
"""What is raised while Discord or the network is down."""

REFUSED_TOKEN = 4004
TOO_MANY_GUILDS = 4011
"""Gateway close codes (documented)."""


class ShardOwner(Protocol):
    """What the connections need of their login. Thread: loop."""

    def make_client(self, shard: Shard) -> GatewayClient:
        """A client that is not connected yet."""
        ...

    async def shard_taken(self, shard: Shard) -> None:
        """This shard is this process's from now on: read what is remembered of its guilds."""
        ...

    async def shard_lost(self, shard: Shard) -> None:
        """This shard's connection is lost for good, and a new one follows: end its calls."""
        ...

    def shard_stuck(self, shard: Shard) -> None:
        """This shard cannot be connected for a while now, and another one is connected. It is tried on. May be called again."""
        ...

    async def shard_moved(self, shard: Shard) -> None:
        """This shard is another process's now: end what is left of its calls, and forget its guilds. May be called again."""
        ...

    async def end_calls(self) -> None:
        """End every call; after this the connections are closed."""
        ...


class KeptShard:
    """A shard that is kept connected by a task."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None
        self.ends = asyncio.Event()
        """Set when the shard is not wanted any more, or the login is over."""


class GatewayConnections:
    """One client for each shard, from the login to its end. Use it once. Thread: loop.

    A shard that fails is connected again while another one is connected. The login has failed when none is left, or when there are fewer
    than Discord wants.
    """

    def __init__(self, owner: ShardOwner, *, turns: LoginTurns, clock: Clock) -> None:
        """`turns` is shared by all logins of the process."""
        self._owner = owner
        self._turns = turns
        self._clock = clock
        self._token = ""
        self._wanted: Sequence[Shard] = ()
        self._kept: dict[Shard, KeptShard] = {}
        self._clients: dict[Shard, GatewayClient] = {}
        self._over = asyncio.Event()
        self._calls_ended = asyncio.Event()
        self._cause: str | None = None
        self._had_session = False

    @property
    def was_connected(self) -> bool:
        """Whether a shard was connected so far."""
        return self._had_session or any(client.sessions for client in self._clients.values())

    @property
    def clients(self) -> Sequence[GatewayClient]:
        """The clients that exist now, by the number of their shard."""
        return [client for _, client in sorted(self._clients.items(), key=lambda one: one[0].number)]

    @property
    def guilds(self) -> Iterator[discord.Guild]:
        """The guilds of all clients."""
        return (guild for client in self.clients for guild in client.guilds)

    @property
    def are_connected(self) -> bool:
        """Whether every shard is connected."""
        return len(self._clients) == len(self._wanted) > 0 and all(client.is_connected for client in self.clients)

    def client_of(self, guild_id: int) -> GatewayClient | None:
        """The client of a guild; None while it is not there."""
        return next((client for shard, client in self._clients.items() if shard in self._wanted and shard.covers(guild_id)), None)

    async def run(self, shards: Sequence[Shard], token: str, stop: asyncio.Event) -> str | None:
        """Connect these shards and keep them until `stop`. Then the owner ends its calls, and all connections are closed.

        Returns:
            Why Discord could not be reached or was lost for good; None after `stop`.

        Raises:
            LoginError: Discord refuses the token.
        """
        self._token = token
        self.keep(shards)
        try:
            await until(stop, self._over.wait())
        finally:
            self._end()
            try:
                await self._owner.end_calls()
            finally:
                self._calls_ended.set()
                ended = await asyncio.gather(*(kept.task for kept in self._kept.values() if kept.task), return_exceptions=True)
        for fault in ended:
            if isinstance(fault, BaseException):
                raise fault
        return None if stop.is_set() else self._cause

    def keep(self, shards: Sequence[Shard]) -> None:
        """Keep these shards from now on, and no others: those that are not wanted any more are closed, new ones are connected."""
        self._wanted = shards
        if self._over.is_set() or not self._token:
            return
        for shard, kept in self._kept.items():
            if shard not in shards:
                kept.ends.set()
        for shard in shards:
            # One that is being closed is taken again when that is done; and if their number has changed, all are closed first.
            if shard not in self._kept and all(kept.count == shard.count for kept in self._kept):
                kept = self._kept[shard] = KeptShard()
                kept.task = asyncio.create_task(self._keep(shard, kept.ends), name=f"bot:shard:{shard.number}")

    async def _keep(self, shard: Shard, ends: asyncio.Event) -> None:
        """Keep one shard connected until it is not wanted any more, or the login is over."""
        try:
            await until(ends, self._owner.shard_taken(shard))
            await self._connect_again_and_again(shard, ends)
        except BaseException:
            self._end()
            raise
        if not self._over.is_set():
            log.info("shard given up", shard=shard.number)
            del self._kept[shard]
            self.keep(self._wanted)

    async def _connect_again_and_again(self, shard: Shard, ends: asyncio.Event) -> None:
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        wait_s, failing_since = 0.0, float("inf")
        while not ends.is_set():
            await until(ends, self._wait_for_turn(shard, wait_s))
            if ends.is_set() and not self._over.is_set():
                break
            failing_since = min(failing_since, self._clock.now())
            cause, was_connected = await self._hold(shard, ends)
            if was_connected:
                backoff.reset()
                failing_since = float("inf")
            wait_s = backoff.failed()
            if not ends.is_set():
                log.warning("shard unreachable", shard=shard.number, cause=cause, retry_in_s=round(wait_s, 1))
                if self._clock.now() - failing_since >= STUCK_S:
                    self._owner.shard_stuck(shard)
        if not self._over.is_set():
            await self._owner.shard_moved(shard)

    async def _wait_for_turn(self, shard: Shard, pause_s: float) -> None:
        """Wait for `pause_s`, and then for the shard's turn to log in."""
        while pause_s := pause_s or await self._turns.turn_s(shard, self._clock.now()):
            await self._clock.sleep_until(self._clock.now() + pause_s)
            pause_s = 0.0

    async def _hold(self, shard: Shard, ends: asyncio.Event) -> tuple[str | None, bool]:
        """One client of a shard, from its login to its end. Returns why it ended, and whether it was connected."""
        try:
            client = self._clients[shard] = self._owner.make_client(shard)
        except OSError as fault:  # for example the limit of open files: like an outage of Discord, that may pass
            if not self._others_are_connected(None):
                self._fail(cause_of(fault))
            return cause_of(fault), False
        try:
            async with client:
                cause = None
                try:
                    cause = await self._until_lost(client, ends)
                finally:
                    # The clients stay until the calls have ended, which still write and leave channels.
                    self._had_session |= client.sessions > 0
                    may_return = cause != TOO_FEW_SHARDS and self._others_are_connected(client)
                    if ends.is_set() and not self._over.is_set():
                        await self._owner.shard_moved(shard)
                    elif cause and not self._over.is_set() and may_return:
                        await self._owner.shard_lost(shard)
                    else:
                        self._fail(cause)
                        await self._calls_ended.wait()
        finally:
            del self._clients[shard]
        return cause, client.sessions > 0

    def _others_are_connected(self, than: GatewayClient | None) -> bool:
        return any(client.is_connected for client in self._clients.values() if client is not than)

    def _fail(self, cause: str | None) -> None:
        """The login is over."""
        if not self._over.is_set():
            self._cause = cause
        self._end()

    def _end(self) -> None:
        self._over.set()
        for kept in self._kept.values():
            kept.ends.set()

    async def _until_lost(self, client: GatewayClient, ends: asyncio.Event) -> str | None:
        """Log in and stay until `ends` (None), or until the connection is lost for good (why)."""
        try:
            await client.run_until(self._token, ends)
        except UNREADABLE as fault:
            log.warning("discord answer unreadable", cause=place_of(fault))
            return NOT_DISCORD
        except discord.LoginFailure:
            raise LoginError(texts.calls.LOGIN_REFUSED) from None
        except discord.PrivilegedIntentsRequired:
            raise LoginError(texts.calls.MESSAGES_REFUSED) from None
        except discord.ConnectionClosed as closed:
            if closed.code == REFUSED_TOKEN:
                raise LoginError(texts.calls.LOGIN_REFUSED) from None
            return TOO_FEW_SHARDS if closed.code == TOO_MANY_GUILDS else f"the gateway closed with code {closed.code}"
        except SessionsFailError:
            return SHORT_SESSIONS
        except UNREACHABLE as fault:
            return cause_of(fault)
        return None


def cause_of(fault: BaseException) -> str:
    """Why Discord could not be reached, in a few words without anything secret."""
    return f"HTTP status {fault.status}" if isinstance(fault, discord.HTTPException) else unreachable_because(fault)
