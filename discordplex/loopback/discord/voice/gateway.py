"""VoiceGatewayServer: the server side of voice gateway v8, with the media relay beside it and faults on demand.

A session begins with an identify that contains what `World` gave out, has one SSRC and one key, and outlives its WebSocket where Discord
allows it: closed with a resumable code, or lost. Assumptions about Discord that are not documented are marked at their place.
"""

import contextlib
from collections.abc import Callable
from types import TracebackType

import anyio
from aiohttp import web
from typing_extensions import Self

from discordplex.errors import LocalProtocolError
from discordplex.loopback.discord.voice import messages
from discordplex.loopback.discord.voice.call import ControlConnection, Participant, VoiceChannelCall
from discordplex.loopback.discord.voice.client import Refusal, ServerRules, VoiceClient
from discordplex.loopback.discord.voice.connection import VoiceWebSocket
from discordplex.loopback.discord.voice.dave.delivery import Delivery
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.discord.voice.media_thread import MediaThread
from discordplex.loopback.discord.voice.messages import NORMAL_CLOSURES, Close, Opcode, is_resumable
from discordplex.loopback.discord.voice.relay import Relay
from discordplex.loopback.discord.voice.sessions import VoiceSessions
from discordplex.loopback.discord.world.model import Fact, VoiceSessionEnded
from discordplex.loopback.discord.world.world import World
from discordplex.voice.rtp.encryption import MODES

HEARTBEAT_INTERVAL_MS = 13_750.0
"""The interval of Discord's voice servers."""

HEARTBEATS_MISSED = 3
"""A connection without a message for this many intervals is closed with 4009."""


class VoiceGatewayServer:
    """Voice servers for a whole world: open it, and mount `handle` at `/`. All methods run on the loop that opened it."""

    def __init__(
        self,
        world: World,
        *,
        impairments: Impairments | None = None,
        modes: tuple[str, ...] = MODES,
        heartbeat_interval_ms: float = HEARTBEAT_INTERVAL_MS,
        dave: bool = False,
        require_dave: bool | None = None,
        record_media: bool = False,
    ) -> None:
        """Set up, still closed.

        Args:
            world: who may speak where.
            impairments: what the network does to every stream towards every user; `relay.impair` changes it per user.
            modes: the transport modes on offer, in the server's order.
            heartbeat_interval_ms: what hello asks for.
            dave: whether calls are encrypted end to end.
            require_dave: whether a client that offers no end-to-end encryption is closed with 4017, as on Discord; if not said, as `dave`.
            record_media: whether the relay keeps every packet that it forwards.
        """
        self.world = world
        self.media = MediaThread()
        self.relay = Relay(self.media, impairments=impairments, record=record_media)
        self.sessions = VoiceSessions(world, self.relay, dave=dave)
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._rules = ServerRules(modes=modes, require_dave=dave if require_dave is None else require_dave)
        self._connections: set[VoiceWebSocket] = set()
        self._unsubscribe: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as exits:
            await exits.enter_async_context(self.media)
            await self.relay.open()
            exits.pop_all()
        self._unsubscribe = self.world.subscribe(self._hear)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()
        self.sessions.close()
        for connection in list(self._connections):
            connection.reset()
        await self.relay.close()
        await self.media.__aexit__(kind, fault, trace)

    def call(self, channel_id: str) -> VoiceChannelCall:
        """The call in a channel; empty where nobody has connected to it."""
        return self.sessions.call(channel_id)

    def participant(self, user_id: str) -> Participant | None:
        """The newest voice session of a user that has not ended, None where there is none."""
        return self.sessions.of_user(user_id)

    def delivery(self, channel_id: str) -> Delivery | None:
        """The DAVE delivery service of the call in a channel; None where calls are not encrypted."""
        return self.sessions.delivery(channel_id)

    # Faults

    def close_connection(self, user_id: str, code: int) -> None:
        """Close a user's WebSocket. After a code that Discord calls resumable (4015, 4000, below) the session waits for its client."""
        participant, connection = self._connected(user_id)
        connection.close(code)
        if not is_resumable(code):
            self.sessions.revoke(participant, code)

    def reset_connection(self, user_id: str) -> None:
        """Reset a user's TCP connection; the session waits for its client."""
        self._connected(user_id)[1].reset()

    def delay_control(self, user_id: str, delay_s: float) -> None:
        """From now on, delay everything that the voice gateway sends a user, on later connections too."""
        self._rules.control_delays_s[user_id] = delay_s
        participant = self.participant(user_id)
        if participant is not None and participant.connection is not None:
            participant.connection.delay_s = delay_s

    def delay_speaking(self, user_id: str, delay_s: float | None) -> None:
        """From now on, delay the message (op 5) that tells the others a user's SSRC; None: never send it."""
        self._rules.speaking_delays_s[user_id] = delay_s

    def refuse(self, user_id: str, *codes: int) -> None:
        """Close the next identifies and resumes of a user with these codes, one each."""
        self._rules.refusals.setdefault(user_id, []).extend(codes)

    def _connected(self, user_id: str) -> tuple[Participant, ControlConnection]:
        participant = self.participant(user_id)
        if participant is None or participant.connection is None:
            raise LocalProtocolError(f"user {user_id} has no voice connection")
        return participant, participant.connection

    # Connections

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one voice client from the upgrade to the close."""
        wire = web.WebSocketResponse(compress=False)
        await wire.prepare(request)
        connection = VoiceWebSocket(wire, request, clock=self.world.clock)
        self._connections.add(connection)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(connection.pump, name="voice-pump")
                await self._serve(connection, request.query.get("v"))
                if connection.closed_with is None:
                    tasks.cancel_scope.cancel()
        finally:
            self._connections.discard(connection)
        return wire

    async def _serve(self, connection: VoiceWebSocket, version: str | None) -> None:
        client = VoiceClient(connection, self.sessions, self._rules)
        try:
            self._greet(connection, version)
            async for message in connection.messages(HEARTBEATS_MISSED * self._heartbeat_interval_ms / 1000):
                client.receive(message)
        except Refusal as refusal:
            connection.close(refusal.code)
        except TimeoutError:
            connection.close(Close.SESSION_TIMEOUT)
        finally:
            self._lost(connection, client.participant)

    def _greet(self, connection: VoiceWebSocket, version: str | None) -> None:
        if version != str(messages.VERSION):
            raise Refusal(Close.UNKNOWN_PROTOCOL)
        hello = {"v": messages.VERSION, "heartbeat_interval": self._heartbeat_interval_ms}
        connection.post(messages.text(Opcode.HELLO, hello))

    def _lost(self, connection: VoiceWebSocket, participant: Participant | None) -> None:
        """Decide what happens to a session whose connection is over, unless it already has another one."""
        if participant is None or participant.connection is not connection:
            return
        ours, theirs = connection.closed_with, connection.client_code
        if ours is not None and not is_resumable(ours):
            self.sessions.revoke(participant, ours)
        elif ours is None and theirs in NORMAL_CLOSURES:
            self.sessions.end(participant, Close.DISCONNECTED)
        else:
            self.sessions.detach(participant)

    def _hear(self, fact: Fact) -> None:
        if isinstance(fact, VoiceSessionEnded):
            self.sessions.end_of(fact.session, fact.cause)
