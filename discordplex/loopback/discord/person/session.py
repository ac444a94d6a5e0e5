"""PersonSession: one voice session of a person, over one or more WebSockets. Implemented apart from the bot's own voice client."""

import asyncio
import json
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import aiohttp

from discordplex.errors import VoiceError
from discordplex.loopback.discord.person.media import MediaSession
from discordplex.loopback.discord.person.socket import PersonSocket
from discordplex.loopback.discord.voice.media_thread import MediaThread
from discordplex.loopback.discord.voice.messages import BINARY_HEAD, SEQUENCES, VERSION, Opcode, is_resumable
from discordplex.loopback.discord.world.model import VoiceSessionGrant
from discordplex.tasks import cancel_and_wait
from discordplex.voice.rtp.encryption import MODES, Transport

Socket: TypeAlias = "aiohttp.ClientWebSocketResponse[bool]"

LOST = 1006
"""The code of a connection that ended without one (RFC 6455 section 7.1.5)."""

MAX_RESUMES = 20


class SessionEvents(Protocol):
    """Callbacks of a session; `Person` implements them. They run on the loop that runs the session."""

    @property
    def dave_version(self) -> int:
        """The newest version of end-to-end encryption that an identify offers; 0: none."""
        ...

    def on_secured(self, media_session: MediaSession) -> None:
        """Media may flow with this session."""
        ...

    def on_text(self, op: int, data: Any) -> None:
        """A JSON message that the session does not handle itself."""
        ...

    def on_binary(self, op: int, payload: bytes) -> None:
        """A binary message."""
        ...


@dataclass(slots=True)
class PersonSession:
    """Runs one session to its end. One owner calls `run`; `send` works while a WebSocket is open."""

    session: VoiceSessionGrant
    endpoint: str
    tls: ssl.SSLContext
    media: MediaThread
    events: SessionEvents
    on_datagram: Callable[[bytes, float], None]
    mode: str = MODES[0]
    connected: bool = False
    """Whether an identify or a resume has been answered on a WebSocket that is still open."""
    resumed: int = 0
    _ssrc: int | None = None
    _seq_ack: int = -1
    _udp: PersonSocket | None = None
    _outbox: list[str | bytes] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Connect, resume where Discord allows it, and return the close code that ended the session. Leaves no socket open."""
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls)) as http:
                code = await self._connection(http)
                while is_resumable(code) and self._ssrc is not None and self.resumed < MAX_RESUMES:
                    self.resumed += 1
                    code = await self._connection(http)
                return code
        finally:
            if self._udp is not None:
                self.media.post(self._udp.close)

    def send(self, op: Opcode, data: Any) -> None:
        """Send a JSON message soon; kept for the next WebSocket where this one is lost."""
        self._post(json.dumps({"op": int(op), "d": data}))

    def send_binary(self, op: Opcode, payload: bytes) -> None:
        """Send a binary message soon; see `send`."""
        self._post(bytes((op,)) + payload)

    def _post(self, message: str | bytes) -> None:
        self._outbox.append(message)
        self._wake.set()

    async def _connection(self, http: aiohttp.ClientSession) -> int:
        try:
            async with http.ws_connect(f"wss://{self.endpoint}/?v={VERSION}", max_msg_size=0) as socket:
                return await self._converse(socket)
        except (aiohttp.ClientError, OSError):
            return LOST
        finally:
            self.connected = False

    async def _converse(self, socket: Socket) -> int:
        helpers: list[asyncio.Task[None]] = []
        try:
            while True:
                message = await socket.receive()
                if message.type is aiohttp.WSMsgType.BINARY:
                    self._binary(message.data)
                elif message.type is aiohttp.WSMsgType.TEXT:
                    helper = await self._text(socket, message.data)
                    helpers += [asyncio.create_task(helper)] if helper else []
                elif message.type is aiohttp.WSMsgType.CLOSE:
                    return int(message.data)
                else:  # aiohttp's own `close_code` says 1000 where TCP ended without a close frame
                    return LOST
        finally:
            await cancel_and_wait(*helpers)

    def _binary(self, message: bytes) -> None:
        self._seq_ack, op = BINARY_HEAD.unpack_from(message)
        self.events.on_binary(op, message[BINARY_HEAD.size :])

    async def _text(self, socket: Socket, message: str) -> Any:
        """Answer one message; may return a coroutine that has to run as long as the WebSocket is open."""
        parsed = json.loads(message)
        op, data = parsed["op"], parsed["d"]
        if "seq" in parsed:
            self._seq_ack = parsed["seq"] % SEQUENCES
        if op == Opcode.HELLO:
            await self._introduce(socket)
            return self._heartbeat(socket, data["heartbeat_interval"] / 1000)
        if op == Opcode.READY:
            await self._discover(socket, data)
        elif op == Opcode.SESSION_DESCRIPTION:
            self._secure(data)
            self.events.on_text(op, data)
        elif op != Opcode.HEARTBEAT_ACK:
            self.events.on_text(op, data)
        if op in (Opcode.READY, Opcode.RESUMED):
            self.connected = True
            return self._pump(socket)
        return None

    async def _introduce(self, socket: Socket) -> None:
        session = self.session
        identity = {"server_id": session.guild_id, "session_id": session.session_id, "token": session.token}
        if self._ssrc is not None:
            await socket.send_json({"op": Opcode.RESUME, "d": identity | {"seq_ack": self._seq_ack}})
            return
        identity |= {"user_id": session.user_id}
        await socket.send_json({"op": Opcode.IDENTIFY, "d": identity | {"max_dave_protocol_version": self.events.dave_version}})

    async def _heartbeat(self, socket: Socket, interval_s: float) -> None:
        while True:
            await socket.send_json({"op": Opcode.HEARTBEAT, "d": {"t": time.time_ns() // 1_000_000, "seq_ack": self._seq_ack}})
            await asyncio.sleep(interval_s)

    async def _pump(self, socket: Socket) -> None:
        while True:
            while self._outbox:
                message = self._outbox[0]
                await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))
                del self._outbox[0]
            self._wake.clear()
            await self._wake.wait()

    async def _discover(self, socket: Socket, ready: Any) -> None:
        if self.mode not in ready["modes"]:
            self.mode = next(mode for mode in ready["modes"] if mode in MODES)
        self._ssrc = ready["ssrc"]
        self._udp = PersonSocket(self.on_datagram)
        address, port = await self.media.run(self._discover_address((ready["ip"], ready["port"]), ready["ssrc"]))
        choice = {"protocol": "udp", "data": {"address": address, "port": port, "mode": self.mode}}
        await socket.send_json({"op": Opcode.SELECT_PROTOCOL, "d": choice})

    async def _discover_address(self, relay: tuple[str, int], ssrc: int) -> tuple[str, int]:
        if self._udp is None:
            raise VoiceError("there is no UDP socket to discover")
        await self._udp.open(relay)
        return await self._udp.discover(ssrc)

    def _secure(self, description: Any) -> None:
        if self._ssrc is None or self._udp is None:
            raise VoiceError("a session description came before ready")
        transport = Transport.for_mode(description["mode"], bytes(description["secret_key"]))
        self.events.on_secured(MediaSession(self._ssrc, transport, self._udp))
