"""SharedShards: the shards of one login where several processes run the bot. They come and go while it runs."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from discordplex.bot import texts
from discordplex.bot.call.transcripts import TranscriptWriter
from discordplex.bot.chat.notices import Notices
from discordplex.bot.client import GatewayClient
from discordplex.bot.connections import TOO_FEW_SHARDS, UNREACHABLE, GatewayConnections, cause_of
from discordplex.bot.scheduling.dispatcher import Dispatcher
from discordplex.bot.scheduling.queue_store import StoredOrder
from discordplex.bot.scheduling.registry import SessionRegistry
from discordplex.bot.scheduling.usage_store import UsageMemory
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bot.settings.unfinished import StoredUnfinishedNotices
from discordplex.bot.shards import AskError, LoginTurns, Pace, Shard, ask, ask_who
from discordplex.clock import Clock
from discordplex.tasks import until

if TYPE_CHECKING:
    from discordplex.cluster.cluster import Cluster

log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 60.0, 600.0
"""How long a process claims no shard when it could not connect one; longer each time, so that shards do not go round in an outage."""

LAST_WORDS_S = 2.4
"""How long the last captions of a shard's calls may take after they have ended."""


class SharedShards:
    """Connects the shards that the cluster gives this process, and hands over what belongs to them. Thread: loop."""

    def __init__(
        self,
        cluster: "Cluster",
        *,
        connections: GatewayConnections,
        dispatcher: Dispatcher,
        registry: SessionRegistry,
        notices: Notices,
        preferences: StoredPreferences,
        transcripts: TranscriptWriter,
        unfinished: StoredUnfinishedNotices,
        queue_memory: StoredOrder,
        usage_memory: UsageMemory,
        turns: LoginTurns,
        clock: Clock,
    ) -> None:
        """All but `cluster`, the two memories, `turns` and `clock` are of the login."""
        self.cluster = cluster
        self._connections = connections
        self._dispatcher = dispatcher
        self._registry = registry
        self._notices = notices
        self._preferences = preferences
        self._transcripts = transcripts
        self._unfinished = unfinished
        self._queue_memory = queue_memory
        self._usage_memory = usage_memory
        self._turns = turns
        self._clock = clock
        self._pace = Pace(first_s=FIRST_PAUSE_S, longest_s=LONGEST_PAUSE_S, lasting_s=LONGEST_PAUSE_S * 2)

    async def run(self, api_url: str, shards: int | None, token: str, stop: asyncio.Event) -> str | None:
        """As `Login.run`. `shards` is `discord.shards`; None for what Discord recommends."""
        cluster = self.cluster
        try:
            asked = await until(stop, asyncio.gather(ask(api_url, token), ask_who(api_url, token)))
        except AskError as fault:
            return str(fault)
        except UNREACHABLE as fault:
            return cause_of(fault)
        if asked is None:
            return None
        advice, bot = asked
        self._turns.max_concurrency = advice.max_concurrency

        async def wanted() -> int:
            return shards or advice.shards

        count = await until(stop, cluster.shard_count(wanted, bot))
        if count is None:
            return None
        log.info("gateway connections", shards=count, process=cluster.name)
        if shards and shards != count:
            log.warning("discord.shards not used", wanted=shards, used=count, advice=texts.calls.OTHER_NUMBER_OF_SHARDS)
        cluster.is_busy, cluster.on_change = self._is_busy, self._changed
        cluster.take_part()
        try:
            cause = await self._connections.run(self._own, token, stop)
        finally:
            cluster.retire()
            cluster.is_busy, cluster.on_change = is_idle, do_nothing
        if cause == TOO_FEW_SHARDS:
            cluster.outgrown = True
            log.warning("too few gateway connections", shards=count, advice=texts.calls.TOO_FEW_SHARDS)
        return cause

    def end_calls(self) -> None:
        """All calls are about to end."""
        self.cluster.retire()

    async def holds(self, shard: Shard) -> bool:
        """Whether this process has the shard. One that was stopped for long asks the others first."""
        if not self.cluster.alive:
            await self.cluster.passable()
        return shard in self._own

    async def taken(self, shard: Shard) -> None:
        """Read what another process has left of the shard's guilds."""
        log.info("shard taken", shard=shard.number)
        memory, covers = self._queue_memory, shard.covers
        self._preferences.read_again(covers)
        order, _, _ = await asyncio.gather(memory.load(shard), self._unfinished.load(covers), self._usage_memory.load(covers))
        since = memory.since
        self._dispatcher.take_over(covers, order, {place: since[place] for place, _ in order if place in since})

    def stuck(self, shard: Shard) -> None:
        """Let another process have a shard that cannot be connected here, where there is one, and take none for a while."""
        if not self.cluster.others_take_part:
            return
        now = self._clock.now()
        if not self._pace.wait_s(now):
            self._pace.begin(now)
        pause_s = self._pace.wait_s(now)
        log.warning("shard left to others", shard=shard.number, pause_s=round(pause_s), advice=texts.calls.SHARD_STUCK)
        self.cluster.pass_on(shard.number, pause_s)

    async def moved(self, shard: Shard) -> None:
        """Another process has the shard: end what is left of its calls, and forget its guilds, whose places are kept there."""
        self._queue_memory.release(shard)
        self._unfinished.release(shard.covers)
        await self._dispatcher.hand_over(shard.covers, timeout_s=LAST_WORDS_S)
        await self._notices.close_where(in_shard(shard))

    @property
    def _own(self) -> list[Shard]:
        """The shards that are this process's now."""
        return [Shard(number, len(self.cluster.snapshot.shards)) for number in sorted(self.cluster.shards)]

    def _changed(self) -> None:
        self._connections.keep(self._own)
        self._dispatcher.others_changed()

    def _is_busy(self, number: int) -> bool:
        """Whether a shard has calls or is about to, or something is not saved or posted yet, so that it stays with this process."""
        shard = next((shard for shard in map(shard_of_client, self._connections.clients) if shard.number == number), None)
        if shard is None:
            return False
        if self._dispatcher.has_calls(shard.covers) or self._notices.writes_where(in_shard(shard)) or self._preferences.waiting:
            return True
        if not all(one.is_saved(shard.covers) for one in (self._queue_memory, self._transcripts, self._usage_memory)):
            return True
        return self._registry.starts_calls and self._dispatcher.has_waiting(shard.covers)


def shard_of_client(client: GatewayClient) -> Shard:
    """Its shard."""
    return client.shard


def in_shard(shard: Shard) -> Callable[[Any], bool]:
    """Whether a channel of py-cord belongs to a shard."""
    return lambda channel: shard.covers(channel.guild.id)


def is_idle(_shard: int) -> bool:
    """No shard has calls before the login and after it."""
    return False


def do_nothing() -> None:
    """Nobody looks at the cluster before the login and after it."""
