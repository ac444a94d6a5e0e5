"""Login: one login to Discord, from start to end. It passes the gateway's events to the dispatcher."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.call.call import Call, CallContext
from discordplex.bot.call.notes import NotesModel, NotesWriter
from discordplex.bot.call.transcripts import TranscriptWriter
from discordplex.bot.chat.channel import PycordVoiceChannel, VoiceChannel, closed_channels, people_by_channel, role_ids, unknown_members
from discordplex.bot.chat.notices import Notices
from discordplex.bot.chat.poster import UNREADABLE
from discordplex.bot.client import GatewayClient
from discordplex.bot.commands.base import CommandServices
from discordplex.bot.commands.notes import NotesPanel
from discordplex.bot.commands.prefix import WrittenCommands
from discordplex.bot.commands.privacy import ConsentPanel
from discordplex.bot.commands.register import add_buttons, add_commands
from discordplex.bot.connections import UNREACHABLE, GatewayConnections, cause_of
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.place import Place
from discordplex.bot.recording_policy import SOMEWHERE, RecordingPolicy
from discordplex.bot.rights import may_call
from discordplex.bot.scheduling.autojoin import Move
from discordplex.bot.scheduling.dispatcher import Dispatcher
from discordplex.bot.scheduling.queue_store import StoredOrder
from discordplex.bot.scheduling.registry import SessionRegistry
from discordplex.bot.scheduling.timers import Timers
from discordplex.bot.scheduling.usage import Usage
from discordplex.bot.scheduling.usage_store import UsageMemory
from discordplex.bot.settings.personas import PersonaCatalog
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bot.settings.unfinished import StoredUnfinishedNotices
from discordplex.bot.shards import AskError, LoginTurns, Shard, ask
from discordplex.bot.shared_shards import LAST_WORDS_S, SharedShards, in_shard
from discordplex.bridge.handover_timing import HandoverRule
from discordplex.bridge.ports import EarsProvider
from discordplex.clock import Clock
from discordplex.config import Config
from discordplex.engine import EngineLease, EngineProvider, Persona, servers_of
from discordplex.metrics import Metrics
from discordplex.overview import DiscordState, Overview
from discordplex.store.records import Owner
from discordplex.tasks import until, wait_for
from discordplex.voice.rtp.threads import SendThread

if TYPE_CHECKING:
    from discordplex.cluster.cluster import Cluster

log = structlog.get_logger()

MEMBERS_TIMEOUT_S = 2.0
"""How long Discord may take to say which users in a channel are bots. Without an answer, all count as people."""

MEMBERS_PER_REQUEST = 100
"""The most users that Discord answers for at once (documented)."""

EDIT_PAUSE_S = 0.2
"""The pause between edits of two messages of earlier calls. Discord allows 50 requests a second, and people need some of them."""

COMMANDS_PAUSE_S = 30.0
"""The pause before another try to register the slash commands."""

UNKNOWN_GUILD, MISSING_ACCESS = 10004, 50001
"""Error codes of the REST API (documented)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What all logins of a process share."""

    config: Config
    provider: EngineProvider
    send_thread: SendThread
    clock: Clock
    metrics: Metrics
    preferences: StoredPreferences
    ears: EarsProvider | None
    summarizer: NotesModel | None
    queue_memory: StoredOrder
    usage: Usage
    usage_memory: UsageMemory
    turns: LoginTurns
    cluster: "Cluster | None" = None
    """What this process shares with others of the bot; None if it is alone."""


class Login:
    """One login, with its own gateway connections, calls and queue. It is used once. Thread: loop."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        persona = parts.config.default_persona
        self._persona = Persona(voice=persona.voice, text_prompt=persona.text_prompt)
        self._preferences = parts.preferences
        self._preferences.changed = self.preferences_changed
        self._numbers = itertools.count(1)
        self._unfinished = StoredUnfinishedNotices(self._preferences)
        self._notices = Notices(clock=parts.clock, metrics=parts.metrics, unfinished=self._unfinished)
        self._timers = Timers(parts.clock)
        self._registry = SessionRegistry(parts.provider, parts.queue_memory, parts.cluster.queue if parts.cluster else None)
        self._dispatcher = Dispatcher(guilds=self, registry=self._registry, notices=self._notices, usage=parts.usage, clock=parts.clock)
        self._transcripts = TranscriptWriter(preferences=self._preferences, notices=self._notices, metrics=parts.metrics)
        self._notes = NotesWriter(
            preferences=self._preferences,
            transcripts=self._transcripts,
            notices=self._notices,
            summarizer=parts.summarizer,
            panel=NotesPanel,
        )
        self._opted_out = frozenset(self._preferences.opted_out)
        self._connections = GatewayConnections(self, turns=parts.turns, clock=parts.clock)
        self._commands_are_registered = False
        self._shared = self._share(parts.cluster) if parts.cluster else None

    def _share(self, cluster: "Cluster") -> SharedShards:
        parts = self._parts
        return SharedShards(
            cluster,
            connections=self._connections,
            dispatcher=self._dispatcher,
            registry=self._registry,
            notices=self._notices,
            preferences=self._preferences,
            transcripts=self._transcripts,
            unfinished=self._unfinished,
            queue_memory=parts.queue_memory,
            usage_memory=parts.usage_memory,
            turns=parts.turns,
            clock=parts.clock,
        )

    def make_client(self, shard: Shard) -> GatewayClient:
        """A client with all commands and buttons, for one shard."""
        services = CommandServices(
            calls=self._dispatcher,
            preferences=self._preferences,
            personas=PersonaCatalog(self._preferences),
            recording_policy=self._recording_policy,
            voices=tuple(self._parts.provider.voices),
            handling=lambda: client.handling(),  # noqa: PLW0108 -- the client is made with the services, and comes after it
            clock=self._parts.clock,
        )
        prefix = self._parts.config.bot.prefix
        read = WrittenCommands(prefix, services).read if prefix else None
        holds = self._shared.holds if self._shared else None
        client = GatewayClient(self, shard=shard, clock=self._parts.clock, turns=self._parts.turns, read=read, holds=holds)
        add_commands(client, services)
        add_buttons(client, services)
        return client

    @property
    def was_connected(self) -> bool:
        """Whether the login succeeded."""
        return self._connections.was_connected

    def overview(self, *, names: bool) -> Overview:
        """The bot as an observer sees it; with `names`, of servers, channels and people."""
        calls, waiting = self._dispatcher.overview(names=names)
        state: DiscordState = "connected" if self._connections.are_connected else "reconnecting" if self.was_connected else "logging in"
        if self._parts.cluster and self._parts.cluster.is_standby:
            state = "standby"
        return Overview(state, sum(1 for _ in self._connections.guilds), calls, waiting, tuple(servers_of(self._parts.provider)))

    async def run(self, token: str, stop: asyncio.Event) -> str | None:
        """Log in and stay until `stop`; then leave every channel, the gateway, HTTP.

        Returns:
            Why Discord could not be reached or was lost for good; None after `stop`.

        Raises:
            LoginError: Discord refuses the token.
        """
        if self._shared:
            return await self._shared.run(self._parts.config.discord.api_url, self._parts.config.discord.shards, token, stop)
        # At the same time: a database that does not answer delays the login once.
        asked = asyncio.gather(self._shards(token), self._parts.queue_memory.load(), self._unfinished.load())
        try:
            learned = await until(stop, asked)
        except AskError as fault:
            return str(fault)
        except UNREACHABLE as fault:
            return cause_of(fault)
        if learned is None:
            return None
        shards, order, _ = learned
        self._dispatcher.restore(order)
        return await self._connections.run(shards, token, stop)

    async def _shards(self, token: str) -> Sequence[Shard]:
        """All gateway connections of the bot."""
        count = self._parts.config.discord.shards or await self._ask(token)
        log.info("gateway connections", shards=count)
        return [Shard(number, count) for number in range(count)]

    async def _ask(self, token: str) -> int:
        """How many shards Discord recommends."""
        advice = await ask(self._parts.config.discord.api_url, token)
        self._parts.turns.max_concurrency = advice.max_concurrency
        return advice.shards

    async def shard_taken(self, shard: Shard) -> None:
        """Read what another process has left of the shard's guilds. Does nothing if there are no other processes."""
        if self._shared:
            await self._shared.taken(shard)

    def shard_stuck(self, shard: Shard) -> None:
        """Let another process try. Does nothing if there is none."""
        if self._shared:
            self._shared.stuck(shard)

    async def shard_moved(self, shard: Shard) -> None:
        """Another process has the shard. May be called again."""
        if self._shared:
            await self._shared.moved(shard)

    @property
    def calls(self) -> int:
        """How many calls this process has."""
        return self._registry.own_calls

    def drain(self) -> None:
        """Start no call from now on."""
        self._dispatcher.drain()

    def preferences_changed(self) -> None:
        """Rules or opt-outs changed: apply them to captions, transcripts and calls."""
        opted_out = frozenset(self._preferences.opted_out)
        for speaker in opted_out - self._opted_out:
            self._notices.drop_captions(speaker=speaker)
            self._transcripts.forget(Owner("person", speaker))
            self._notes.forget(Owner("person", speaker))
        self._opted_out = opted_out
        self._dispatcher.preferences_changed()

    # What happens on Discord

    def connected(self, client: GatewayClient) -> None:
        """A session began. At a second one, Discord has forgotten which channels the bot is in."""
        log.info("connected to discord", shard=client.shard.number, session=client.sessions)
        if client.user is not None:
            self._unfinished.logged_in(client.user.id)
        if not self._commands_are_registered and (self._parts.cluster is None or client.shard.number == 0):
            self._commands_are_registered = True
            self._timers.beside("commands", self._register_commands())
        if client.sessions > 1:
            self._dispatcher.drop_calls(client.shard.covers)

    async def shard_lost(self, shard: Shard) -> None:
        """End the calls of a shard. Their people wait in front of everybody until its next connection."""
        tasks = self._dispatcher.drop_calls(shard.covers)
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WORDS_S)
        await self._notices.close_where(in_shard(shard))

    def guild_here(self, guild: discord.Guild) -> None:
        """People who are already in a voice channel count as entering."""
        self._timers.beside(("enter channels", guild.id), self._enter_occupied_channels(guild))

    def guilds_known(self, client: GatewayClient) -> None:
        """Drop places in the queue from before a restart whose people are in no voice channel now."""
        shard = client.shard
        self._timers.beside(("finish restore", shard), self._finish_restore(client))
        self._timers.beside(("interrupted", shard), self._edit_interrupted_notices(client))
        present = {guild.id for guild in client.guilds}  # unavailable ones too: Discord names them at the start
        missing = functools.partial(self._is_missing, client, present)
        self._timers.beside(("missing guilds", shard), self._preferences.forget_missing_guilds(missing))

    def guild_gone(self, guild_id: int) -> None:
        """The bot is no longer in this guild: end its call, and delete its settings."""
        self._dispatcher.guild_gone(guild_id)
        self._preferences.forget_guild(guild_id)

    def person_moved(self, guild: discord.Guild, person_id: int, before: int | None, after: int | None) -> None:
        """A person changed the voice channel. Ignored until the guild's rules are known; then people in a channel count as entering."""
        if not self._preferences.knows(guild.id):
            return
        move, rules = Move(person_id, before, after), self._preferences.rules(guild.id)
        welcome = may_call(rules, role_ids(guild, person_id))
        self._dispatcher.person_moved(guild.id, move, people_by_channel(guild), closed_channels(guild, rules), may_call=welcome)

    def bot_moved(self, guild_id: int, channel_id: int) -> None:
        """The call continues in the new channel, if that is allowed."""
        self._dispatcher.bot_moved(guild_id, channel_id)

    def voice_changed(self, guild: discord.Guild) -> None:
        """Update whom the call hears."""
        self._dispatcher.voice_changed(guild.id)

    def rights_changed(self, guild: discord.Guild) -> None:
        """End a call in a channel that is now closed to the bot."""
        self._dispatcher.rights_changed(guild.id)

    def messages_deleted(self, channel_id: int, message_ids: Collection[int]) -> None:
        """A notice may be among them. Then nothing is recorded until a new one is delivered."""
        self._notices.deleted(channel_id, message_ids)

    # What scheduling needs (see `scheduling.context.GuildAccess`)

    def voice_channel_at(self, place: Place) -> VoiceChannel | None:
        """The voice channel as the bot sees it now; None if there is none."""
        client = self._connections.client_of(place.guild_id)
        guild = client.get_guild(place.guild_id) if client else None
        channel = guild.get_channel(place.channel_id) if guild else None
        if not isinstance(channel, discord.VoiceChannel | discord.StageChannel):
            return None
        return PycordVoiceChannel(channel, self._preferences.rules(place.guild_id))

    def is_away(self, guild_id: int) -> bool:
        """Whether the guild's connection is being opened, or Discord cannot serve the guild now."""
        client = self._connections.client_of(guild_id)
        if client is None or client.sessions == 0:
            return True
        guild = client.get_guild(guild_id)
        return guild is not None and bool(guild.unavailable)

    def rules(self, guild_id: int) -> GuildRules:
        """The rules of a guild."""
        return self._preferences.rules(guild_id)

    def persona_refusal(self) -> str | None:
        """Why the engine refuses the configured persona, as a sentence; None if it takes it."""
        return self._parts.provider.check(self._persona.voice, self._persona.text_prompt)

    def new_call(self, voice_channel: VoiceChannel, lease: EngineLease, *, quiet: bool, asker: int | None) -> Call:
        """Make a call that does not run yet."""
        parts = self._parts
        context = CallContext(
            notices=self._notices,
            preferences=self._preferences,
            persona=self._persona,
            send_thread=parts.send_thread,
            clock=parts.clock,
            metrics=parts.metrics,
            transcripts=self._transcripts,
            notes=self._notes,
            panel=ConsentPanel,
            ears=parts.ears,
            summarizer=parts.summarizer if parts.config.engine.summary else None,
            handover_rule=HandoverRule(long_pause_s=parts.config.engine.renewal_pause_s),
            return_to_preferred=parts.config.engine.return_to_preferred,
            engine_name=parts.config.engine.only_name,
        )
        return Call(context=context, voice_channel=voice_channel, lease=lease, number=next(self._numbers), quiet=quiet, asker=asker)

    # Parts of it

    async def end_calls(self) -> None:
        """End every call, and write what is still to be written."""
        if self._shared:
            self._shared.end_calls()
        await self._timers.close()
        await self._dispatcher.close()
        await self._notes.close()
        await self._transcripts.close()
        with contextlib.suppress(asyncio.TimeoutError):
            await wait_for(self._notices.flush(), LAST_WORDS_S)
        await self._notices.close()

    async def _register_commands(self) -> None:
        """Register them once for the whole bot, with the client of any shard."""
        while True:
            try:
                for client in self._connections.clients[:1]:
                    await client.sync_commands()
            except (*UNREACHABLE, *UNREADABLE) as fault:
                log.warning("slash commands not registered", cause=cause_of(fault), retry_in_s=COMMANDS_PAUSE_S)
            else:
                return
            await self._parts.clock.sleep_until(self._parts.clock.now() + COMMANDS_PAUSE_S)

    async def _enter_occupied_channels(self, guild: discord.Guild) -> None:
        """Enter the channels with people: the one with most people first; the others are told where the bot is."""
        await self._preferences.learn(guild.id)
        await self._fetch_unknown_members(guild)
        self._dispatcher.guild_here(guild.id)
        rules = self._preferences.rules(guild.id)
        if not rules.auto_join:
            return
        people = people_by_channel(guild)
        for channel_id in sorted(people.keys() - closed_channels(guild, rules), key=lambda channel_id: -len(people[channel_id])):
            alone = next(iter(people[channel_id])) if len(people[channel_id]) == 1 else None
            self._dispatcher.enter(Place(guild.id, channel_id), asker=alone)

    async def _edit_interrupted_notices(self, client: GatewayClient) -> None:
        """Edit the notices of calls that an earlier process or login could not end, in the guilds of this client."""
        for notice in self._unfinished.interrupted:
            if client.get_guild(notice.guild_id) is None:
                continue  # it is another client's, or deleted with its guild
            known = client.get_channel(notice.channel_id)
            channel = known if isinstance(known, discord.abc.Messageable) else client.get_partial_messageable(notice.channel_id)
            self._notices.replace(channel, notice.message_id, texts.calls.INTERRUPTED)
            await self._parts.clock.sleep_until(self._parts.clock.now() + EDIT_PAUSE_S)

    async def _fetch_unknown_members(self, guild: discord.Guild) -> None:
        unknown = unknown_members(guild)
        for start in range(0, len(unknown), MEMBERS_PER_REQUEST):
            asked = unknown[start : start + MEMBERS_PER_REQUEST]
            try:
                await wait_for(guild.query_members(user_ids=asked, limit=MEMBERS_PER_REQUEST, cache=True), MEMBERS_TIMEOUT_S)
            except (asyncio.TimeoutError, OSError, aiohttp.ClientError):
                log.warning("voice members unknown", guild=guild.id, users=len(asked))

    async def _finish_restore(self, client: GatewayClient) -> None:
        """When the rules of the client's guilds are known, serve in the order from before the restart."""
        for guild in client.guilds:
            await self._preferences.learn(guild.id)
        if self._parts.cluster:
            self._dispatcher.finish_take_over(client.shard.covers)
        elif self._connections.are_connected:
            self._dispatcher.finish_restore()

    async def _is_missing(self, client: GatewayClient, present: Collection[int], guild_id: int) -> bool:
        """Whether this guild belongs to the client, and Discord says for certain that the bot is not in it.

        An outage or another refusal is not certain.
        """
        if not client.shard.covers(guild_id) or guild_id in present:
            return False
        try:
            await client.http.get_guild(guild_id)
        except (discord.NotFound, discord.Forbidden) as fault:
            return fault.code in (UNKNOWN_GUILD, MISSING_ACCESS)
        except UNREACHABLE as fault:
            log.info("guild membership unknown", guild=guild_id, cause=cause_of(fault))
        return False

    def _recording_policy(self, guild_id: int) -> RecordingPolicy:
        """What is done with people's words in a guild."""
        call = self._dispatcher.call(guild_id)
        if call:
            return call.recording_policy
        rules, engine = self._preferences.rules(guild_id), self._parts.config.engine
        where = None if rules.captions.where == "off" else rules.captions.channel_id or SOMEWHERE
        info = self._parts.provider.info
        return RecordingPolicy.of(
            rules,
            engine=engine.only_name or info.description,
            transcribes=info.transcribes,
            captions_in=where,
            ears=self._parts.ears.name if self._parts.ears else "",
            recap=self._parts.summarizer.name if self._parts.summarizer and engine.summary else "",
            summarizer=self._notes.summarizer_name,
        )
