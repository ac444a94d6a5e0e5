"""BotApplication: the whole bot. It logs in, and again after a failure, until it is told to stop."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import discord
import discord.http
import structlog

from discordplex.bot import texts
from discordplex.bot.call.notes import NotesModel
from discordplex.bot.login import Login, Parts
from discordplex.bot.scheduling.queue_store import StoredOrder
from discordplex.bot.scheduling.usage import Usage
from discordplex.bot.scheduling.usage_store import UsageMemory
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bot.shards import ClusterTurns, LoginTurns
from discordplex.bridge.ports import EarsProvider
from discordplex.clock import Clock
from discordplex.config import Config
from discordplex.engine import EngineProvider, servers_of
from discordplex.errors import ConfigError, LoginError
from discordplex.metrics import Metrics
from discordplex.overview import DiscordState, Overview
from discordplex.retry import Backoff
from discordplex.store.store import Store
from discordplex.tasks import until
from discordplex.voice.rtp.threads import SendThread

if TYPE_CHECKING:
    from discordplex.cluster.cluster import Cluster

log = structlog.get_logger()

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""The pause between tries to reach Discord doubles from the first to the longest. After short sessions, the pauses of `Pace` apply."""

LONGEST_PAUSE_OF_ONE_S = 600.0
"""The same for a process whose others reach Discord: each of its tries takes shards from them, and fails to connect them."""

DRAIN_CHECK_S = 0.2
"""How often a process that waits for the end of its calls looks for it."""


class BotApplication:
    """`run` it, `stop` it. Thread: loop, also for making it."""

    def __init__(
        self,
        *,
        config: Config,
        provider: EngineProvider,
        store: Store,
        send_thread: SendThread,
        clock: Clock,
        metrics: Metrics,
        ears: EarsProvider | None = None,
        summarizer: NotesModel | None = None,
        cluster: "Cluster | None" = None,
    ) -> None:
        """`ears` write down what people say beside an engine that does not; `summarizer` sums up calls.

        With `cluster`, this process is one of several of the same bot.
        """
        if cluster:
            store.fence = cluster
        self._order = StoredOrder(store.queue, clock=clock, now=cluster.queue.now if cluster else time.time)
        usage = Usage(time.time)
        self._usage_memory = UsageMemory(usage, store.usage, clock=clock)
        self._parts = Parts(
            config=config,
            provider=provider,
            send_thread=send_thread,
            clock=clock,
            metrics=metrics,
            preferences=StoredPreferences(config=config, provider=provider, store=store, clock=clock),
            ears=ears,
            summarizer=summarizer,
            queue_memory=self._order,
            usage=usage,
            usage_memory=self._usage_memory,
            turns=ClusterTurns(cluster.login_turn, clock) if cluster else LoginTurns(),
            cluster=cluster,
        )
        self._parts.preferences.forgetting.add(self._order.forget)
        self._stop = asyncio.Event()
        self._draining = False
        self._login: Login | None = None
        self._between_logins: DiscordState = "logging in"

    def overview(self, *, names: bool = False) -> Overview:
        """The bot at this moment; with `names`, of servers, channels and people."""
        if self._login is None:
            found = Overview(self._between_logins, engines=tuple(servers_of(self._parts.provider)))
        else:
            found = self._login.overview(names=names)
        cluster = self._parts.cluster
        found = replace(found, draining=self._draining, cluster=cluster.overview if cluster else None)
        return replace(found, discord="stopping") if self._stop.is_set() else found

    def stop(self) -> None:
        """Make `run` leave every channel, close engines, gateway and HTTP, and return, within five seconds. A second call does nothing."""
        self._stop.set()

    async def drain(self, longest_s: float) -> None:
        """Start no call from now on, and return when no call runs any more, or after this time. Then `stop` it."""
        clock = self._parts.clock
        deadline = clock.now() + longest_s
        self._draining = True
        log.info("draining", calls=self._login.calls if self._login else 0, longest_s=longest_s)
        if self._parts.cluster:
            self._parts.cluster.drain()
        while clock.now() < deadline and (login := self._login) is not None and login.calls:
            login.drain()
            await clock.sleep_until(clock.now() + DRAIN_CHECK_S)

    async def run(self) -> None:
        """Run the bot until `stop`. While Discord cannot be reached, it tries again with growing pauses.

        Raises:
            ConfigError: there is no token.
            LoginError: Discord refuses the token.
        """
        token = self._token()
        await until(self._stop, asyncio.gather(self._parts.preferences.load(), self._usage_memory.load()))
        async with side_by_side(self._parts.preferences, self._order, self._usage_memory):
            await self._log_in_again_and_again(token)

    async def _log_in_again_and_again(self, token: str) -> None:
        api_url, clock = self._parts.config.discord.api_url, self._parts.clock
        discord.http.Route.API_BASE_URL = api_url
        backoff, backoff_of_one = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S), Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_OF_ONE_S)
        cluster = self._parts.cluster
        while not self._stop.is_set():
            self._login = login = Login(self._parts)
            cause = await login.run(token, self._stop)
            if login.was_connected:
                backoff.reset()
                backoff_of_one.reset()
            self._login, self._between_logins = None, "unreachable"
            if cause is None or self._stop.is_set():
                return
            wait_s = backoff_of_one.failed() if cluster and cluster.others_take_part else backoff.failed()
            log.warning("discord unreachable", advice=texts.calls.discord_unreachable(api_url, cause), retry_in_s=round(wait_s, 1))
            await until(self._stop, clock.sleep_until(clock.now() + wait_s))

    def _token(self) -> str:
        token = self._parts.config.discord.token
        word = token.get_secret_value().strip() if token else ""
        if not word:
            raise ConfigError(texts.calls.LOGIN_MISSING)
        if not word.isascii() or not word.isprintable() or " " in word:
            raise LoginError(texts.calls.LOGIN_REFUSED)
        return word


@asynccontextmanager
async def side_by_side(*parts: AbstractAsyncContextManager[Any]) -> AsyncIterator[None]:
    """Enter these, and leave them at the same time: each may take a second while the database does not answer."""
    for part in parts:
        await part.__aenter__()
    try:
        yield
    finally:
        await asyncio.gather(*(part.__aexit__(None, None, None) for part in parts))
