"""One voice session: its gateway, its encrypted group and its UDP socket, over any number of WebSockets.

The IO around `gateway/protocol.py`: it moves messages, discovers our address, sends heartbeats, and returns how each WebSocket ended.
`reconnect.py` decides what follows.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import structlog
from websockets.exceptions import ConnectionClosed, WebSocketException

from discordplex.clock import Clock
from discordplex.descriptors import NO_DESCRIPTORS, says_no_descriptors
from discordplex.errors import RemoteProtocolError, VoiceError
from discordplex.logs import place_of
from discordplex.metrics import Metrics
from discordplex.network import NetworkSettingError, ProxyFailedError, open_websocket
from discordplex.tasks import cancel_and_wait, wait_for
from discordplex.token_bucket import TokenBucket
from discordplex.voice.close_codes import Closing, Repair, classify
from discordplex.voice.dave.session import DaveSession
from discordplex.voice.gateway.events import (
    E2eeCommand,
    E2eeEvent,
    GatewayReady,
    GatewayResumed,
    HeartbeatAcked,
    Hello,
    PeopleJoined,
    PersonGone,
    SessionDescription,
    Speaking,
    VoiceEvent,
)
from discordplex.voice.gateway.protocol import VERSION, Credentials, GatewayPhase, VoiceGateway
from discordplex.voice.rtp.encryption import choose_mode
from discordplex.voice.rtp.receiver import PcmSink
from discordplex.voice.rtp.sender import Sender
from discordplex.voice.rtp.socket import MediaSocket
from discordplex.websocket import GuardedConnection


class VoiceSessionListener(Protocol):
    """Receives the events of a voice session. Every method is called on the loop and must not raise."""

    def session_live(self) -> None:
        """Audio flows, for the first time or again."""
        ...

    def people_joined(self, user_ids: Iterable[int], /) -> None:
        """These people are in the channel."""
        ...

    def person_left(self, user_id: int, /) -> None:
        """This person has left."""
        ...

    def people_listed(self) -> None:
        """Everybody who is in the channel has been named."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceServices:
    """The services that every voice session of one call shares."""

    sink: PcmSink
    sender: Sender
    metrics: Metrics
    clock: Clock
    tls: ssl.SSLContext


log = structlog.get_logger()

OPEN_TIMEOUT_S = 10.0
"""For TCP, TLS and the WebSocket's upgrade; and again from there to a session that is live."""

MAX_MESSAGE_BYTES = 1 << 19
"""Room for the key packages of a full channel (99 of 700 bytes), and for the list of ten thousand people on a stage."""

FRAMES_PER_S, FRAMES_AT_ONCE = 200, 1000
BYTES_PER_S, BYTES_AT_ONCE = 1 << 17, 1 << 21
"""What a voice server may send, pings and empty frames included: a full channel with people coming and going has a few messages a second,
and a resume replays what was missed."""

GROUP_EVENTS_PER_S, GROUP_EVENTS_AT_ONCE = 20, 400
"""How many messages about keys a voice server may send: each costs up to 5 ms of the loop, in a group of a thousand 20 ms.
Somebody who comes or goes makes four."""

MOST_UNREAD_BYTES = 1 << 20
"""So much may wait for a server that does not read; a commit for a full channel has a tenth."""

TOO_MUCH = Closing(Repair.REJOIN, "Discord's voice server sends more than a call can take")

HOST_AND_PORT = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
"""What Discord names a voice server by. The session's token goes there."""

CLOSE_TIMEOUT_S = 0.5
"""For the other side to say goodbye as well: a process that stops has five seconds for everything."""

SETTLE_S = 1.0
"""After this long without a list of people, nobody else is in the channel: the list is not sent to somebody alone."""

FIRST_BEAT_S = 1.0
"""The first heartbeat comes early: its answer proves that a mended connection works, so that the next loss is mended at once."""

KEEPALIVE_PERIOD_S = 5.0
"""How often Discord's own clients keep their address open."""


class DiscordVoiceSession:
    """One voice session. `run` serves one WebSocket at a time; `close` ends the session. For the loop only."""

    def __init__(
        self, *, credentials: Credentials, endpoint: str, channel_id: Callable[[], int], owner: VoiceSessionListener, shared: VoiceServices
    ) -> None:
        self.e2ee = DaveSession(user_id=credentials.user_id, metrics=shared.metrics)
        self.gateway = VoiceGateway(credentials, max_dave_protocol_version=self.e2ee.max_protocol_version)
        self.proven = False
        self.obstacle = ""
        """The sentence about a proxy that failed on the way, "" where none did."""
        self._endpoint = endpoint
        self._channel_id = channel_id
        self._owner = owner
        self._shared = shared
        self._media = MediaSocket(sink=shared.sink, sender=shared.sender, clock=shared.clock, metrics=shared.metrics, e2ee=self.e2ee)
        self.receiver = self._media.receiver
        self._opened_before = 0
        self._complained = False
        self._frames = TokenBucket(per_second=FRAMES_PER_S, burst=FRAMES_AT_ONCE)
        self._bytes = TokenBucket(per_second=BYTES_PER_S, burst=BYTES_AT_ONCE)
        self._group_events = TokenBucket(per_second=GROUP_EVENTS_PER_S, burst=GROUP_EVENTS_AT_ONCE)
        self._socket: GuardedConnection | None = None
        self._ending: Closing | None = None
        self._work: asyncio.Task[int | None] | None = None
        self._outgoing = asyncio.Event()

    @property
    def ssrc(self) -> int | None:
        """The number of our own stream, once the voice server has given it."""
        return self._media.ssrc

    @property
    def flows(self) -> bool:
        """Whether this WebSocket has brought a heartbeat's answer, or audio has arrived during its life."""
        return self.proven or self.receiver.opened > self._opened_before

    def say_goodbye(self, closing: Closing) -> None:
        """Close the WebSocket in good order when the task that serves this session is cancelled, which is about to happen."""
        self._ending = closing

    def stop(self, closing: Closing) -> None:
        """End `run` or `rest`. The present `run`, or else the next one, returns this."""
        if self._ending is None:
            self._ending = closing
            if self._work is not None:
                self._work.cancel()

    def close(self) -> None:
        """Close the UDP socket. Idempotent."""
        self._media.close()

    def say_speaking(self, *, speaking: bool) -> None:
        """Tell the channel that our audio starts or stops."""
        if self.ssrc is not None:
            self.gateway.speaking(speaking=speaking, ssrc=self.ssrc)
            self._outgoing.set()

    @property
    def path_owes_answer(self) -> bool:
        """Whether nothing has come since the last keep-alive; False where this server answers none."""
        return self._media.path_owes_answer

    @property
    def path_silent_s(self) -> float:
        """Over what time keep-alives got no answer; 0.0 while the path is alive, or never answers."""
        return self._media.path_silent_s

    def ask_path(self) -> None:
        """Send a keep-alive: its answer proves that datagrams reach the voice server and come back."""
        self._media.keep_alive(self._shared.clock.now())

    def rejoin_group(self) -> None:
        """Ask for new keys for everybody. Does nothing in a call without encryption."""
        self._say(self.e2ee.rejoin())

    async def rest(self, seconds: float) -> None:
        """Wait before the next `run`, unless stopped."""
        if self._ending is None:
            await self._until_stopped(self._sleep(seconds))

    async def run(self) -> Closing:
        """Open one WebSocket, serve it to its end, and return how it ended. Raises nothing that a network can cause."""
        self.proven = False
        self._opened_before = self.receiver.opened
        code = await self._until_stopped(self._open_and_serve()) if self._ending is None else None
        ending, self._ending = self._ending, None
        return ending or classify(code)

    async def _until_stopped(self, work: Coroutine[Any, Any, int | None]) -> int | None:
        # A task and not a scope: before Python 3.11 a scope that is cancelled swallows a cancellation of the caller, too.
        self._work = asyncio.create_task(work, name="voice session")
        try:
            await asyncio.wait({self._work})
        finally:
            await cancel_and_wait(self._work)
        return None if self._work.cancelled() else self._work.result()

    async def _sleep(self, seconds: float) -> None:
        await self._shared.clock.sleep_until(self._shared.clock.now() + seconds)

    async def _open_and_serve(self) -> int | None:
        try:
            socket = await self._connect()
        except NetworkSettingError as fault:
            self._ending = Closing(Repair.END, str(fault).rstrip("."))
            return None
        except ProxyFailedError as fault:
            log.warning("voice server not reached", cause=fault.cause)
            self.obstacle = str(fault)
            self._ending = Closing(Repair.RESUME, str(fault).rstrip("."))
            return None
        except ValueError:  # also of the libraries, about names and ports that cannot be
            log.warning("voice server not reached", error="no address")
            self._ending = Closing(Repair.REJOIN, "Discord named a voice server by something that is no address")
            return None
        except (OSError, asyncio.TimeoutError, WebSocketException) as error:
            log.warning("voice server not reached", error=type(error).__name__)
            limited = says_no_descriptors(error)
            self._ending = Closing(Repair.RESUME, NO_DESCRIPTORS if limited else "Discord's voice server could not be reached")
            return None
        await self._serve(socket)
        return socket.close_code

    async def _connect(self) -> GuardedConnection:
        if not HOST_AND_PORT.fullmatch(str(self._endpoint)):  # Discord may have sent anything
            raise ValueError("a voice server is named by host and port")
        # No pings of the WebSocket's own: the voice gateway has heartbeats.
        return await open_websocket(
            f"wss://{self._endpoint}/?v={VERSION}",
            guard=self._may_come,
            ssl=self._shared.tls,
            compression=None,
            ping_interval=None,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
        )

    def _may_come(self, size: int, frames: int) -> bool:
        """Whether the server may send this much more. If not, the caller cuts the connection."""
        now = self._shared.clock.now()
        unread = self._socket.backlog_bytes if self._socket is not None else 0
        if unread <= MOST_UNREAD_BYTES and self._bytes.take(size, now) and self._frames.take(frames, now):
            return True
        self._ending = self._ending or TOO_MUCH
        return False

    async def _serve(self, socket: GuardedConnection) -> None:
        self._socket = socket
        self.gateway.connected()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, socket, name="voice gateway writer")
                tasks.start_soon(self._watch_start, name="voice gateway start")
                tasks.start_soon(self._keep_alive, name="voice keep-alive")
                await self._read(socket, tasks)
                tasks.cancel_scope.cancel()
        finally:
            self._socket = None
            self.gateway.lost()
            with anyio.CancelScope(shield=True):
                await self._hang_up(socket)

    async def _hang_up(self, socket: GuardedConnection) -> None:
        if self._ending is None or self._ending.repair is not Repair.END:
            socket.abort()  # no goodbye: a session that is resumed or replaced must not be ended, nor be waited for
        with contextlib.suppress(asyncio.TimeoutError):
            await wait_for(socket.close(), 2 * CLOSE_TIMEOUT_S)

    async def _read(self, socket: GuardedConnection, tasks: anyio.abc.TaskGroup) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                try:
                    event = self.gateway.receive(message)
                except RemoteProtocolError as fault:
                    self._count_bad(fault)
                    continue
                self._handle(event, tasks)
                self._outgoing.set()
                await asyncio.sleep(0)  # messages that are there already are taken without a wait, and others want the loop too

    def _count_bad(self, fault: RemoteProtocolError) -> None:
        """Count each bad message and log the first of a session: a broken server may send many."""
        self._shared.metrics.counter("voice.gateway.bad_messages").add()
        if not self._complained:
            self._complained = True
            log.warning("voice gateway sent a bad message", cause=place_of(fault))

    async def _write(self, socket: GuardedConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._outgoing.wait()
                self._outgoing.clear()
                for message in self.gateway.messages_to_send():
                    await socket.send(message)

    async def _watch_start(self) -> None:
        await self._shared.clock.sleep_until(self._shared.clock.now() + OPEN_TIMEOUT_S)
        if self.gateway.phase is not GatewayPhase.LIVE:
            self.stop(Closing(Repair.RESUME, "Discord's voice server accepted the connection and then said nothing useful"))

    def _handle(self, event: VoiceEvent | None, tasks: anyio.abc.TaskGroup) -> None:
        """Handle one event of the gateway."""
        if isinstance(event, Hello):
            tasks.start_soon(self._beat, event.heartbeat_interval_s, name="voice heartbeat")
        elif isinstance(event, GatewayReady):
            tasks.start_soon(self._open_media, event, name="voice datagrams")
        elif isinstance(event, SessionDescription | E2eeEvent) and not self._group_events.take(1, self._shared.clock.now()):
            self.stop(TOO_MUCH)
        elif isinstance(event, SessionDescription):
            self._described(event, tasks)
        elif isinstance(event, GatewayResumed):
            self._owner.session_live()
        elif isinstance(event, HeartbeatAcked):
            self._acked(event)
        else:
            self._handle_people(event)

    def _handle_people(self, event: VoiceEvent | None) -> None:
        if isinstance(event, Speaking):
            self.receiver.name(event.ssrc, event.user_id, speaking=event.speaking)
        elif isinstance(event, PeopleJoined):
            self.e2ee.join(event.user_ids)
            self._owner.people_joined(event.user_ids)
        elif isinstance(event, PersonGone):
            self.e2ee.leave(event.user_id)
            self.receiver.forget(event.user_id)
            self._owner.person_left(event.user_id)
        elif isinstance(event, E2eeEvent):
            self._say(self.e2ee.receive(event))

    async def _open_media(self, ready: GatewayReady) -> None:
        try:
            mode = choose_mode(ready.modes)
            address, port = await self._media.open(ready)
        except VoiceError as error:
            self.stop(Closing(Repair.REJOIN, str(error).rstrip(".")))
            return
        self.gateway.select_protocol(address=address, port=port, mode=mode)
        self._outgoing.set()

    def _described(self, description: SessionDescription, tasks: anyio.abc.TaskGroup) -> None:
        try:
            started = self._media.start(description)
        except VoiceError as error:
            self.stop(Closing(Repair.REJOIN, str(error).rstrip(".")))
            return
        if started and self.ssrc is not None:
            version = description.dave_protocol_version
            self._say(self.e2ee.start(channel_id=self._channel_id(), ssrc=self.ssrc, protocol_version=version))
            self.say_speaking(speaking=True)  # Discord wants it once before the first packet
            self.ask_path()  # whether this server answers keep-alives is known from the start
            tasks.start_soon(self._settle, name="voice settle")
            self._owner.session_live()

    def _say(self, commands: Iterable[E2eeCommand]) -> None:
        """Send the encrypted group's messages to the server."""
        for command in commands:
            self.gateway.command(command)
        self._outgoing.set()

    async def _settle(self) -> None:
        await self._shared.clock.sleep_until(self._shared.clock.now() + SETTLE_S)
        self._owner.people_listed()

    async def _keep_alive(self) -> None:
        while True:
            await self._shared.clock.sleep_until(self._shared.clock.now() + KEEPALIVE_PERIOD_S)
            self.ask_path()

    async def _beat(self, interval_s: float) -> None:
        deadline = self._shared.clock.now() + min(interval_s, FIRST_BEAT_S)
        while True:
            await self._shared.clock.sleep_until(deadline)
            # From now on and not from the last one: after a machine's sleep the next beat would be due before this one can be answered.
            deadline = self._shared.clock.now() + interval_s
            if not self.gateway.heartbeat(self._now_ms()):
                self.stop(Closing(Repair.RESUME, "Discord's voice server stopped answering"))
            self._outgoing.set()

    def _acked(self, acked: HeartbeatAcked) -> None:
        self.proven = self.proven or self.gateway.phase is GatewayPhase.LIVE
        self._shared.metrics.gauge("voice.gateway.rtt_ms").set(self._now_ms() - acked.nonce)

    def _now_ms(self) -> int:
        """A heartbeat's nonce. Not the wall clock, which jumps."""
        return int(self._shared.clock.now() * 1000)
