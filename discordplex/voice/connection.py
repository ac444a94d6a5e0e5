"""VoiceConnection: our implementation of py-cord's voice protocol. It owns a call's sockets and repairs them.

py-cord makes it (`channel.connect(cls=functools.partial(VoiceConnection, ...))`), passes it the main gateway's two voice events,
and uses nothing else of it: no private name of the library is used.
"""

import asyncio
import contextlib
from collections.abc import Callable, Container, Iterable

import discord
import structlog
from discord.voice import VoiceProtocol

from discordplex.clock import Clock
from discordplex.descriptors import NO_DESCRIPTORS, says_no_descriptors
from discordplex.errors import LocalProtocolError, VoiceError
from discordplex.metrics import Metrics
from discordplex.network import NetworkSettingError, tls_context
from discordplex.tasks import wait_for
from discordplex.voice.close_codes import Closing, Repair
from discordplex.voice.connection_info import ConnectionInfo, ConnectionInfoCollector
from discordplex.voice.events import ConnectionEvent, Lost, PersonJoined
from discordplex.voice.gateway.protocol import Credentials
from discordplex.voice.members import Members
from discordplex.voice.reconnect import REMOVED, Reconnector
from discordplex.voice.rtp.receiver import EVERYBODY, PcmSink
from discordplex.voice.rtp.sender import PcmSource, Sender
from discordplex.voice.rtp.threads import SendThread
from discordplex.voice.session import DiscordVoiceSession, VoiceServices
from discordplex.voice.watchdog import Watchdog, excused

__all__ = ["ConnectionEvent", "VoiceConnection"]

log = structlog.get_logger()

LEAVE_TIMEOUT_S = 2.0
"""For telling Discord that we leave, while a process that stops has five seconds for everything."""

LEFT = Closing(Repair.END, "the bot has left the voice channel")


class VoiceConnection(VoiceProtocol[discord.Client]):
    """One call's place in a voice channel, from `connect` to `disconnect`. For the loop only; `on_event` is called there too."""

    def __init__(
        self,
        client: discord.Client,
        channel: discord.VoiceChannel | discord.StageChannel,
        *,
        send_thread: SendThread,
        sink: PcmSink,
        source: PcmSource,
        metrics: Metrics,
        clock: Clock,
        on_event: Callable[[ConnectionEvent], None],
    ) -> None:
        super().__init__(client, channel)
        if client.user is None:
            raise LocalProtocolError("a voice connection needs a client that is logged in")
        self._loop = asyncio.get_running_loop()
        self._guild: discord.Guild = channel.guild
        self._place = channel
        self._channel_id: int = channel.id
        self._user_id = client.user.id
        self._send_thread = send_thread
        self._sink = sink
        self._metrics = metrics
        self._clock = clock
        self._on_event = on_event
        self._sender = Sender(source=source, clock=clock, metrics=metrics, on_speaking=self._speaking, alone=lambda: not self.people)
        self._watchdog = Watchdog(
            live_session=lambda: self._session if self._live.is_set() else None,
            excused=lambda named: excused(self._place.voice_states, own_id=self._user_id, ignored=self._dropped, named=named),
            tell=self._tell,
            clock=clock,
            metrics=metrics,
        )
        self._info_collector = ConnectionInfoCollector()
        self._members = Members(self._user_id)
        self._ignored: frozenset[int] = frozenset()
        self._deaf = False
        self._session: DiscordVoiceSession | None = None
        self._runner: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._live = asyncio.Event()
        self._final: Closing | None = None
        self._setback: Closing | None = None
        self._connected = self._lost = self._released = False

    @property
    def people(self) -> frozenset[int]:
        """The ids of everybody in the channel but ourselves."""
        return self._members.people

    @property
    def ssrc(self) -> int | None:
        """The number of our own stream, None while there is none."""
        return self._session.ssrc if self._session else None

    @property
    def privacy_code(self) -> str | None:
        """The digits of the end-to-end encryption that everybody in the call sees, None without an encrypted group."""
        return self._session.e2ee.privacy_code if self._session else None

    def ignore(self, user_ids: Iterable[int]) -> None:
        """Drop the packets of these people, and of nobody else, unopened from now on; drop what is held of them as well."""
        self._ignored = frozenset(user_ids)
        self._apply_ignored()

    def deafen(self, *, deaf: bool) -> None:
        """While deaf, drop everybody's packets unopened; drop what is held as well."""
        self._deaf = deaf
        self._apply_ignored()

    @property
    def _dropped(self) -> Container[int | None]:
        return EVERYBODY if self._deaf else self._ignored

    def _apply_ignored(self) -> None:
        if self._session:
            self._session.receiver.ignore(self._dropped)

    async def connect(self, *, timeout: float, reconnect: bool) -> None:
        """Join the channel and return when audio can flow. Raises VoiceError with a sentence for people, and leaves nothing behind."""
        try:
            # Fresh, so that an SSL_CERT_FILE set since the start is honoured; in a thread, since it reads a hundred certificates (17 ms).
            self._tls = await asyncio.to_thread(tls_context)
            self._runner = asyncio.create_task(self._run(reconnect=reconnect), name=f"voice connection {self._guild.id}")
            await self._until_live(timeout)
            self._connected = self._live.is_set()
        except BaseException as fault:
            await self.disconnect(force=True)
            if isinstance(fault, NetworkSettingError):
                raise VoiceError(str(fault)) from None
            if says_no_descriptors(fault):
                raise VoiceError(f"{NO_DESCRIPTORS[:1].upper()}{NO_DESCRIPTORS[1:]}.") from fault
            raise
        if not self._connected:
            refusal = self._why_not(timeout)
            await self.disconnect(force=True)
            raise refusal

    async def disconnect(self, *, force: bool = False) -> None:
        """Leave the channel and release everything, in any state. Idempotent; returns when it is done."""
        del force  # there is no gentler way
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._leave(), name="voice disconnect")
        await asyncio.shield(self._leaving)

    async def on_voice_state_update(self, data: discord.RawVoiceStateUpdateEvent) -> None:
        """Take our own voice state from py-cord: the channel that we are in, or none."""
        if self._leaving:
            return
        if data.channel_id is None:
            if self._info_collector.left() and self._session:
                self._session.stop(REMOVED)
            return
        self._info_collector.entered(data.session_id)
        if data.channel_id != self._channel_id:
            self._channel_id = data.channel_id
            if isinstance(data.channel, discord.VoiceChannel | discord.StageChannel):
                self.channel = self._place = data.channel
            log.info("voice channel changed", guild=self._guild.id, channel=self._channel_id)

    async def on_voice_server_update(self, data: discord.RawVoiceServerUpdateEvent) -> None:
        """Take the voice server of the channel from py-cord. A new one replaces the one in use."""
        if self._info_collector.served(data.token, data.endpoint) and self._session:
            self._session.stop(Closing(Repair.WAIT, "Discord named another voice server"))

    def session_live(self) -> None:
        """Audio flows; see `VoiceSessionListener`."""
        self._send_thread.pace(self._sender)
        self._live.set()
        log.info("voice connected", guild=self._guild.id, channel=self._channel_id, ssrc=self.ssrc)
        self._lost = False

    def people_joined(self, user_ids: Iterable[int], /) -> None:
        """People are in the channel; see `VoiceSessionListener`."""
        for user_id in self._members.joined(user_ids):
            self._tell(PersonJoined(user_id))

    def person_left(self, user_id: int, /) -> None:
        """A person has left; see `VoiceSessionListener`."""
        self._members.left(user_id)

    def people_listed(self) -> None:
        """Everybody has been named; see `VoiceSessionListener`."""
        self._members.settled()

    async def _run(self, *, reconnect: bool) -> None:
        """Run from joining the channel until nothing can be repaired any more."""
        reconnector = Reconnector(
            info_collector=self._info_collector,
            open_session=self._open_session,
            enter=lambda: self._guild.change_voice_state(channel=self._place),
            leave=lambda: self._guild.change_voice_state(channel=None),
            on_loss=self._note_loss,
            clock=self._clock,
            reconnect=reconnect,
        )
        try:
            closing = await self._watchdog.during(reconnector.run())
        except Exception:
            log.exception("voice connection failed", guild=self._guild.id)
            closing = Closing(Repair.END, "a fault inside discordplex ended the voice connection")
        self._final = closing
        log.info("voice connection ended", guild=self._guild.id, code=closing.code, repair=closing.repair.name)
        if self._connected and not self._leaving:
            if closing is not REMOVED:
                await self._say_left()
            self._release()
            self._tell(Lost(closing.told, closing.code, final=True, may_retry=closing is not REMOVED))

    def _open_session(self, info: ConnectionInfo) -> DiscordVoiceSession:
        credentials = Credentials(self._guild.id, self._user_id, info.session_id, info.token)
        shared = VoiceServices(self._sink, self._sender, self._metrics, self._clock, self._tls)
        self._members.new_session()
        self._session = DiscordVoiceSession(
            credentials=credentials, endpoint=info.endpoint, channel_id=lambda: self._channel_id, owner=self, shared=shared
        )
        self._apply_ignored()
        return self._session

    def _note_loss(self, closing: Closing) -> None:
        """Report once that the connection is lost, but not for a mere move."""
        self._live.clear()
        log.warning("voice connection lost", guild=self._guild.id, code=closing.code, repair=closing.repair.name)
        self._setback = closing
        self._metrics.counter("voice.losses").add()
        if self._connected and not self._lost and closing.repair is not Repair.WAIT:
            self._lost = True
            self._tell(Lost(closing.told, closing.code, final=False))

    async def _until_live(self, timeout_s: float | None) -> None:
        """Return when audio can flow, when it never will, or when the time is over."""
        if self._runner is None:
            return
        live = asyncio.create_task(self._live.wait(), name="voice live")
        try:
            await asyncio.wait({self._runner, live}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            live.cancel()

    def _why_not(self, timeout_s: float) -> VoiceError:
        if self._final:
            return VoiceError(self._final.told, code=self._final.code)
        if self._session and self._session.obstacle:
            return VoiceError(self._session.obstacle)
        if self._setback:
            return VoiceError(self._setback.told, code=self._setback.code)
        if self._session:
            return VoiceError(f"Discord's voice server did not let the bot in within {timeout_s:g} s.")
        if self._info_collector.in_channel:
            return VoiceError(f"Discord has named no voice server within {timeout_s:g} s.")
        return VoiceError(
            f"Discord did not let the bot into the voice channel within {timeout_s:g} s: "
            "the channel may be full, or the bot may lack the permission to connect."
        )

    async def _leave(self) -> None:
        if self._released:
            return
        await self._say_left()
        if self._session:
            self._session.say_goodbye(LEFT)
        if self._runner:
            self._runner.cancel()
            await asyncio.wait({self._runner})
        self._release()

    async def _say_left(self) -> None:
        with contextlib.suppress(Exception):  # the library's gateway may be closed already: then Discord sees us leave by itself
            await wait_for(self._guild.change_voice_state(channel=None), LEAVE_TIMEOUT_S)

    def _release(self) -> None:
        """Release everything, py-cord's registration last. Idempotent."""
        if not self._released:
            self._released = True
            self._live.clear()
            self._sender.detach()
            self._send_thread.unpace(self._sender)
            self.cleanup()

    def _speaking(self, speaking: bool) -> None:  # noqa: FBT001 - the word itself, and a callback
        """Our audio starts or stops. Thread: send."""
        self._loop.call_soon_threadsafe(self._say_speaking, speaking)

    def _say_speaking(self, speaking: bool) -> None:  # noqa: FBT001 - the same
        if self._session:
            self._session.say_speaking(speaking=speaking)

    def _tell(self, event: ConnectionEvent) -> None:
        try:
            self._on_event(event)
        except Exception:
            log.exception("listener of a voice connection failed", event_kind=type(event).__name__)
