"""GatewayClient: py-cord's bot with only the parts that a call needs, and an orderly end."""

import asyncio
import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any, Protocol

import aiohttp
import discord
import structlog
from discord.gateway import DiscordWebSocket
from typing_extensions import Self

from discordplex.bot.chat.poster import UNREADABLE
from discordplex.bot.commands.base import reply_to_failure
from discordplex.bot.commands.reply import CommandContext
from discordplex.bot.rate_limits import BoundedResponse
from discordplex.bot.shards import WHOLE, LoginTurns, Pace, Shard
from discordplex.clock import Clock
from discordplex.errors import DiscordplexError
from discordplex.logs import place_of
from discordplex.network import Connector
from discordplex.tasks import cancel_and_wait, until, wait_for

log = structlog.get_logger()

READY_TIMEOUT_S = 0.1
"""How long py-cord waits for another guild before `on_ready`. Only the end of the client waits for `on_ready`."""

LOGIN_TIMEOUT_S = 60.0
"""A server that accepts connections and does not answer in this time counts as unreachable."""

GOODBYE_S = 1.0
"""How long the gateway may take to close, and unanswered commands to finish."""

LONGEST_WAIT_S = 30.0
"""The longest wait inside one try to connect, which py-cord gives up after 60 s. If more is needed, the login ends and its caller waits."""

GOODBYE, RESUMABLE = 1000, 4000
"""Close codes: the first ends the gateway session, and with it our place in voice channels; the second allows a resume (documented)."""


class SessionsFailError(DiscordplexError):
    """Discord ends our sessions as soon as they begin."""


class ShardMovedError(aiohttp.ClientConnectionError, ConnectionResetError):
    """Another process has this shard now, and speaks to Discord in its guilds."""


def pace_of_resumes() -> Pace:
    """py-cord resumes without a pause, even if Discord accepts and drops it each time. The first resume is not delayed."""
    return Pace(first_s=0.5, longest_s=LONGEST_WAIT_S, lasting_s=60.0)


class Listener(Protocol):
    """Receives what happens on Discord. Called on the loop; must return at once."""

    def connected(self, client: "GatewayClient") -> None:
        """A gateway session of this client began. What was known from an earlier one is no longer valid."""
        ...

    def guild_here(self, guild: discord.Guild) -> None:
        """A guild is available: at the start, after an invitation, after an outage."""
        ...

    def guild_gone(self, guild_id: int) -> None:
        """The bot is no longer in this guild."""
        ...

    def guilds_known(self, client: "GatewayClient") -> None:
        """`guild_here` was called for every available guild of this client."""
        ...

    def person_moved(self, guild: discord.Guild, person_id: int, before: int | None, after: int | None) -> None:
        """A person (never a bot) moved from one voice channel to another; None is no channel."""
        ...

    def bot_moved(self, guild_id: int, channel_id: int) -> None:
        """Discord moved the bot from one voice channel to another, for whatever reason."""
        ...

    def voice_changed(self, guild: discord.Guild) -> None:
        """Another voice state changed in a guild: a bot moved, somebody was allowed to speak on a stage, or was muted."""
        ...

    def rights_changed(self, guild: discord.Guild) -> None:
        """A channel, a role or the bot's own roles changed, so its permissions may have changed."""
        ...

    def messages_deleted(self, channel_id: int, message_ids: Collection[int]) -> None:
        """These messages of a channel were deleted, the bot's or others'."""
        ...


def least_intents(*, messages: bool) -> discord.Intents:
    """Guilds, voice states, and events of messages, none of them privileged. With `messages`, also the privileged content of messages."""
    return discord.Intents(guilds=True, voice_states=True, guild_messages=True, message_content=messages)


PEOPLES_MESSAGES = ("MESSAGE_CREATE", "MESSAGE_UPDATE")
"""Events that come with the intent, which is needed only for deletions. They are ignored."""


def ignore_event(_data: Any) -> None:
    """The parser of an ignored event."""


class GatewayClient(discord.Bot):
    """One gateway connection, for one shard of the bot.

    Use it with `async with`: at the end the gateway is closed, commands are answered, HTTP is closed, and no task is left. Make it inside
    the running loop. Raises NetworkSettingError if the certificates that the environment names cannot be loaded.
    """

    def __init__(
        self,
        listener: Listener,
        *,
        shard: Shard,
        clock: Clock,
        turns: LoginTurns,
        read: Callable[[discord.Message], Awaitable[None]] | None = None,
        holds: Callable[[Shard], Awaitable[bool]] | None = None,
    ) -> None:
        """`turns` is shared by all clients of the process. With `read`, people's messages are requested and passed to it.

        `holds` says whether the shard is this process's. If not, nothing that comes is handled and nothing is sent any more.
        """
        self.shard = shard
        self.sessions = 0
        """How many gateway sessions it has had."""
        divided = {} if shard == WHOLE else {"shard_id": shard.number, "shard_count": shard.count}
        super().__init__(  # type: ignore[no-untyped-call] # py-cord does not annotate it
            **divided,
            intents=least_intents(messages=read is not None),
            # By itself, py-cord follows redirects with what people said, and waits as long as an answer asks.
            connector=Connector(writes_to=discord.http.Route.API_BASE_URL, response_class=BoundedResponse, passes=self._pass),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags(voice=True, joined=False, interaction=False),
            chunk_guilds_at_startup=False,
            max_messages=None,
            cache_default_sounds=False,
            auto_sync_commands=False,
            guild_ready_timeout=READY_TIMEOUT_S,
        )
        parsers = self._connection.parsers
        parsers["GUILD_CREATE"] = functools.partial(self._renew_guild, parsers["GUILD_CREATE"])
        # Without READY there is no session: the caller has to start again.
        parsers.update({name: skip_unreadable(name, parse) for name, parse in parsers.items() if name != "READY"})
        if read is None:
            parsers.update(dict.fromkeys(PEOPLES_MESSAGES, ignore_event))
        self._clock = clock
        self._turns = turns
        self._resumes = pace_of_resumes()
        self._pycord_ws_connect: Callable[..., Awaitable[Any]] = self.http.ws_connect
        self.http.ws_connect = self._dial_in_time  # type: ignore[method-assign] # py-cord has no hook before it connects
        self._pycord_request: Callable[..., Awaitable[Any]] = self.http.request
        self.http.request = self._request  # type: ignore[method-assign] # likewise
        self._listener = listener
        self._read = read
        self._holds = holds
        self._start_done = asyncio.Event()
        self._start_done.set()
        self._unannounced: set[int] = set()
        """Guilds that are available, and of which the listener has not heard yet."""
        self._handlers_running: set[asyncio.Task[Any]] = set()
        self._connecting: asyncio.Task[None] | None = None
        self._has_left = False
        self.is_connected = False
        """Whether a gateway session is open now."""

    async def run_until(self, token: str, stop: asyncio.Event) -> None:
        """Log in and stay until `stop`. py-cord reconnects a lost gateway.

        Raises what ended the connection before `stop`; one of UNREADABLE if Discord's answers have a wrong shape.
        """
        await until(stop, wait_for(self.login(token), LOGIN_TIMEOUT_S))
        if not stop.is_set():
            self._connecting = asyncio.create_task(self.connect(reconnect=True), name="gateway")
            await until(stop, asyncio.shield(self._connecting))

    def _renew_guild(self, parse: Callable[[Any], None], data: Any) -> None:
        """A guild is available. After an outage, py-cord would keep voice states and channels that are gone."""
        guild = self.get_guild(int(data["id"]))
        if guild is not None and not data.get("unavailable"):
            for kept in (guild._voice_states, guild._channels, guild._threads):  # noqa: SLF001 -- py-cord has no way to say it
                kept.clear()
        parse(data)
        if not data.get("unavailable"):
            self._unannounced.add(int(data["id"]))

    async def _dial_in_time(self, url: str, **options: Any) -> Any:
        """Wait for the pace, then connect to the gateway. Raises SessionsFailError if the wait would be too long for py-cord."""
        websocket: DiscordWebSocket | None = self.ws
        session = websocket.session_id if websocket is not None else None
        while wait_s := await self._pause_s(resumes=session is not None):
            if wait_s > LONGEST_WAIT_S:
                raise SessionsFailError
            await self._clock.sleep_until(self._clock.now() + wait_s)
        self._resumes.begin(self._clock.now())
        socket = await self._pycord_ws_connect(url, **options)
        if self._holds is not None:
            self._fence(socket, self._holds)
        return socket

    async def _pause_s(self, *, resumes: bool) -> float:
        now = self._clock.now()
        return self._resumes.wait_s(now) if resumes else await self._turns.turn_s(self.shard, now)

    def _fence(self, socket: Any, holds: Callable[[Shard], Awaitable[bool]]) -> None:
        """Let nothing through this gateway connection while another process may have the shard."""
        pycord_receive, pycord_send = socket.receive, socket.send_str

        async def receive(timeout: float | None = None) -> Any:
            message = await pycord_receive(timeout=timeout)
            if not await holds(self.shard):
                await asyncio.Event().wait()  # until this client is closed
            return message

        async def send(data: str, *args: Any, **options: Any) -> None:
            if not await holds(self.shard):
                raise ShardMovedError
            await pycord_send(data, *args, **options)

        socket.receive, socket.send_str = receive, send

    async def _request(self, route: discord.http.Route, **options: Any) -> Any:
        """Make a request. If it is cancelled while it waits for the global rate limit, the other requests do not wait forever."""
        try:
            return await self._pycord_request(route, **options)
        except BaseException:
            self.http._global_over.set()  # noqa: SLF001 -- py-cord sets it only where the wait was not cut short
            raise

    async def _pass(self) -> None:
        """What a request awaits before it is sent, however long it waited for a rate limit or another try: also the answer to a command."""
        if self._holds is not None and not await self._holds(self.shard):
            raise ShardMovedError

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """py-cord asks for a new session, at once or five seconds after Discord refused a resume."""
        await super().before_identify_hook(shard_id, initial=initial)
        while wait_s := await self._turns.identify_s(self.shard, self._clock.now()):
            await self._clock.sleep_until(self._clock.now() + wait_s)
        self._turns.begin(self.shard, self._clock.now())

    async def close(self) -> None:
        """py-cord closes the client by itself when Discord refuses a session; but its calls still have something to write."""
        if self._has_left:
            await super().close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the gateway first, so that Discord shows the bot as gone; then wait for running answers; then close HTTP."""
        if self._connecting:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        await self._close_gateway(self.ws, code=GOODBYE)
        with contextlib.suppress(asyncio.TimeoutError):
            await wait_for(self._start_done.wait(), READY_TIMEOUT_S + GOODBYE_S)
        await self._finish_handlers()
        self._has_left = True
        await self.close()
        if self.http.connector is not None:
            await self.http.connector.close()

    @staticmethod
    async def _close_gateway(websocket: DiscordWebSocket | None, *, code: int) -> None:
        if websocket is not None:
            with contextlib.suppress(asyncio.TimeoutError, OSError, aiohttp.ClientError, RuntimeError):
                await wait_for(websocket.close(code=code), GOODBYE_S)

    async def _finish_handlers(self) -> None:
        if self._handlers_running:
            _, late = await asyncio.wait(self._handlers_running, timeout=GOODBYE_S)
            await cancel_and_wait(*late)

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        """Remember the running event handler until it is done, so that the end can wait for it."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError
        self._handlers_running.add(task)
        try:
            yield
        finally:
            self._handlers_running.discard(task)

    # Events, by py-cord's names

    async def on_connect(self) -> None:
        """A session began. py-cord calls `on_ready` when it has seen the guilds."""
        self._start_done.clear()
        self.is_connected = True
        self.sessions += 1
        self._listener.connected(self)

    async def on_ready(self) -> None:
        """Py-cord has finished its own start."""
        self._start_done.set()
        # py-cord drops the event of a guild that comes at the moment in which it stops waiting for the next one.
        for guild_id in tuple(self._unannounced):
            self._announce(self.get_guild(guild_id))
        self._unannounced.clear()
        self._listener.guilds_known(self)

    async def on_disconnect(self) -> None:
        """The gateway was lost. py-cord reconnects, but does not close the lost socket, so this does."""
        self.is_connected = False
        log.info("discord gateway lost, reconnecting")
        with self.handling():
            await self._close_gateway(self.ws, code=RESUMABLE)

    async def on_resumed(self) -> None:
        """The gateway session was resumed, and nothing was missed."""
        self.is_connected = True
        log.info("discord gateway resumed")

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A known guild is available."""
        self._announce(guild)

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was added to a guild."""
        self._announce(guild)

    def _announce(self, guild: discord.Guild | None) -> None:
        if guild is not None and guild.id in self._unannounced:
            self._unannounced.remove(guild.id)
            self._listener.guild_here(guild)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was removed from a guild, or the guild was deleted."""
        self._listener.guild_gone(guild.id)

    async def on_voice_state_update(self, member: discord.Member, before: discord.VoiceState, after: discord.VoiceState) -> None:
        """Somebody entered, left or changed a voice channel, or was muted. Calls start here: see `bot/__init__.py`."""
        was = before.channel.id if before.channel else None
        now = after.channel.id if after.channel else None
        if not member.bot and was != now:
            self._listener.person_moved(member.guild, member.id, was, now)
        elif member == member.guild.me and was is not None and now not in (None, was):
            self._listener.bot_moved(member.guild.id, now)
        else:
            self._listener.voice_changed(member.guild)

    async def on_guild_channel_update(self, _before: discord.abc.GuildChannel, after: discord.abc.GuildChannel) -> None:
        """The permissions of a channel may have changed."""
        self._listener.rights_changed(after.guild)

    async def on_guild_role_update(self, _before: discord.Role, after: discord.Role) -> None:
        """The permissions of a role may have changed."""
        self._listener.rights_changed(after.guild)

    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """A role was deleted, and its permissions with it. Discord does not say who had it, and py-cord keeps its id."""
        for member in role.guild.members:
            if member._roles.has(role.id):  # noqa: SLF001 -- a channel's permissions are worked out from these
                member._roles.remove(role.id)  # noqa: SLF001 -- likewise
        self._listener.rights_changed(role.guild)

    async def on_guild_update(self, _before: discord.Guild, after: discord.Guild) -> None:
        """The AFK channel may have changed."""
        self._listener.rights_changed(after)

    async def on_member_update(self, _before: discord.Member, after: discord.Member) -> None:
        """The roles of a member changed; only the bot's own are of interest."""
        if after == after.guild.me:
            self._listener.rights_changed(after.guild)

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Somebody deleted a message."""
        self._listener.messages_deleted(event.channel_id, {event.message_id})

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Many messages were deleted at once, usually by a moderation bot."""
        self._listener.messages_deleted(event.channel_id, event.message_ids)

    async def get_application_context(self, interaction: discord.Interaction, cls: Any = CommandContext) -> discord.ApplicationContext:
        """Start the answer to a command before the command runs."""
        return await super().get_application_context(interaction, cls=cls)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """A slash command."""
        with self.handling():
            await self.process_application_commands(interaction)

    async def on_message(self, message: discord.Message) -> None:
        """Somebody wrote something."""
        if self._read and message.guild and not message.author.bot:
            with self.handling():
                await self._read(message)

    async def on_application_command_auto_complete(self, interaction: discord.Interaction, command: Any) -> None:
        """Somebody types an option. py-cord's own handler would let one person's typing cancel the completions of all others."""
        with self.handling():
            interaction.command = command
            try:
                await command.invoke_autocomplete_callback(await self.get_autocomplete_context(interaction))
            except (DiscordplexError, discord.HTTPException) as fault:  # the person sees no choices and can keep typing
                log.info("autocomplete failed", command=str(command), cause=type(fault).__name__)

    async def on_application_command_error(self, context: discord.ApplicationContext, exception: discord.DiscordException) -> None:
        """A command raised."""
        with self.handling():
            await reply_to_failure(context, exception)

    async def on_error(self, event_method: str, *_args: Any, **_kwargs: Any) -> None:
        """An event handler raised. Other events are not affected."""
        log.error("event handler failed", handler=event_method, exc_info=sys.exc_info())


def skip_unreadable(name: str, parse: Callable[[Any], None]) -> Callable[[Any], None]:
    """A parser of py-cord that skips an event of a wrong shape. Without this, such an event would end the connection and every call."""

    def parse_or_skip(data: Any) -> None:
        try:
            parse(data)
        except UNREADABLE as fault:
            log.warning("discord event unreadable, skipped", name=name, cause=place_of(fault))

    return parse_or_skip
