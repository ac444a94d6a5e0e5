"""StandInServer: a PersonaPlex server without a model, on 127.0.0.1, for tests and the demo.

It is built on aiohttp, as the real one, so that pings, limits and close codes behave alike. It serves one client at a time; a second one
is upgraded and then receives nothing, not even a pong, until the first has left.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Mapping
from types import TracebackType

from aiohttp import web
from typing_extensions import Self

from discordplex.clock import Clock, SystemClock
from discordplex.loopback.log import Log, Record
from discordplex.loopback.personaplex.conversation import VOICE_STEPS, RequestedPersona, ServerConversation, ServerState
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Connected, Refused
from discordplex.loopback.personaplex.parrot import Parrot
from discordplex.loopback.personaplex.talker import Talker
from discordplex.loopback.personaplex.voice_model import Echo, Mode, VoiceModelFactory
from discordplex.loopback.sockets import listen, set_up
from discordplex.personaplex.endpoint import DEFAULT_PATH, VOICES

MODELS: Mapping[Mode, VoiceModelFactory] = {"echo": Echo, "parrot": Parrot, "talker": Talker}

MAX_MESSAGE_BYTES = 4 << 20
"""aiohttp's default; beyond it the connection is closed with 1009."""

CLOSE_S = 2.0
"""How long the conversations have to end when the server stops."""


class StandInServer:
    """`async with StandInServer(mode="echo") as server:` listens at `server.url` and logs to `server.log`.

    `step_ms` is the duration of a model step (measured on a machine that keeps up: 25; beyond 80 the server falls behind for ever),
    `prompt_step_ms` that of a step of the prompts (a GPU: 50 to 60; here fast, for tests). `packets_per_step=2` is the layout of moshi
    0.2.13, and eight bytes of `versions` after the handshake are kyutai's Rust server, which takes no voice and no role.
    """

    def __init__(
        self,
        mode: Mode = "echo",
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        faults: Faults | None = None,
        step_ms: float = 25.0,
        prompt_step_ms: float = 1.0,
        packets_per_step: int = 1,
        versions: bytes = b"",
        model: VoiceModelFactory | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        faults = faults or Faults()
        self._state = ServerState(
            clock=clock or SystemClock(),
            new_model=model or MODELS[mode],
            faults=faults,
            step_ms=step_ms,
            prompt_step_ms=prompt_step_ms,
            packets_per_step=packets_per_step,
            versions=versions,
            rng=random.Random(faults.seed),
        )
        self._host = host
        self._port = port
        self._tls = tls
        self._clients = 0
        self._transports: set[asyncio.BaseTransport] = set()
        self._conversations: list[ServerConversation] = []
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    # For tests to read and change

    @property
    def log(self) -> Log:
        """What happened, with times on the server's clock."""
        return self._state.log

    @property
    def url(self) -> str:
        """The address for clients."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'ws' if self._tls is None else 'wss'}://{host}:{self._port}{DEFAULT_PATH}"

    @property
    def faults(self) -> Faults:
        """The current faults; assign others to change them."""
        return self._state.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._state.faults = faults

    @property
    def step_ms(self) -> float:
        """The duration of a model step; assign to change it."""
        return self._state.step_ms

    @step_ms.setter
    def step_ms(self, step_ms: float) -> None:
        self._state.step_ms = step_ms

    def crash(self) -> None:
        """The audio loop of each conversation raises: a clean close with 1000, and the next client is served."""
        self._each(ServerConversation.crash)

    def reset(self) -> None:
        """Reset the TCP connections, as when the process is killed; continue listening, as after a restart."""
        self._each(ServerConversation.reset)

    def stop_reading(self) -> None:
        """Stop reading from the sockets."""
        self._each(lambda conversation: conversation.reading.clear())

    def read_again(self) -> None:
        """Read again, and answer everything that has arrived."""
        self._each(lambda conversation: conversation.reading.set())

    def inject(self, message: bytes | str) -> None:
        """Send each client one more message: any bytes, or a WebSocket text message."""
        self._each(lambda conversation: conversation.inject(message))

    async def close_with(self, code: int) -> None:
        """Close each conversation with a code."""
        for conversation in list(self._conversations):
            await conversation.close(code)

    async def go_silent(self) -> None:
        """Do what the real server does on SIGTERM: conversations stay open and silent, new connections are refused."""
        self._each(lambda conversation: setattr(conversation, "silent", True))
        await self.stop_listening()

    async def stop_listening(self) -> None:
        """Refuse new connections."""
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def listen_again(self) -> None:
        """Accept connections again, at the same address, as after a restart."""
        if self._site is None and self._runner is not None:
            self._site, self._port = await listen(self._runner, self._host, self._port, self._tls)

    # Start and stop

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError where the port is not available."""
        app = web.Application()
        app.router.add_get(DEFAULT_PATH, self._chat)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        self._site, self._port = await set_up(self._runner, self._host, self._port, self._tls)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Disconnect the remaining clients, and stop."""
        await self.stop_listening()
        self.read_again()  # a conversation ends where its reader learns that the client is gone
        for transport in list(self._transports):
            transport.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if self._state.faults.http_status is not None:
            return web.Response(status=self._state.faults.http_status)
        websocket = web.WebSocketResponse(autoping=False, max_msg_size=MAX_MESSAGE_BYTES)
        await websocket.prepare(request)
        self._clients += 1
        number, query = self._clients, dict(request.query)
        self._write(Connected, number, path=request.path, query=query)
        transport = request.transport
        refusal = objection(query)
        if refusal or transport is None:
            # The real handler raises here: too late for HTTP, so the connection just ends.
            self._write(Refused, number, why=refusal or "gone already")
            if transport is not None:
                transport.close()
            return websocket
        self._transports.add(transport)
        try:
            await self._converse(number, websocket, transport, RequestedPersona(query["voice_prompt"], query["text_prompt"]))
        finally:
            self._transports.discard(transport)
        return websocket

    async def _converse(
        self, number: int, websocket: web.WebSocketResponse, transport: asyncio.BaseTransport, persona: RequestedPersona
    ) -> None:
        # Set before the lock is taken: this is a bug of the real server, and the reason why clients must connect one at a time.
        self._state.requested = persona
        async with self._state.model_lock:
            if not persona.text_prompt:
                # First the voice, then the remaining tokens.
                await self._state.pause(VOICE_STEPS * self._state.prompt_step_ms / 1000)
                self._write(Refused, number, why="empty text_prompt")
                transport.close()
                return
            conversation = ServerConversation(number=number, state=self._state, websocket=websocket, transport=transport)
            self._conversations.append(conversation)
            try:
                await conversation.run()
            finally:
                self._conversations.remove(conversation)

    def _each(self, turn: Callable[[ServerConversation], object]) -> None:
        for conversation in list(self._conversations):
            turn(conversation)

    def _write(self, kind: type[Record], number: int, /, **facts: object) -> None:
        self._state.log.add(kind(self._state.clock.now(), number, **facts))


def objection(query: Mapping[str, str]) -> str | None:
    """Why the real handler would raise on this query; None where it would not."""
    if "seed" in query:
        return "seed"
    if "text_prompt" not in query or "voice_prompt" not in query:
        return "a prompt is missing"
    if query["voice_prompt"] not in VOICES:
        return "no such voice"
    return None
