"""RealtimeServer: a realtime service without a model, on 127.0.0.1, for tests, the demo and the tests of clients."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Protocol

from aiohttp import WSMessage, WSMsgType, web
from typing_extensions import Self

from discordplex.clock import Clock, SystemClock
from discordplex.loopback.log import Log
from discordplex.loopback.openai import shapes
from discordplex.loopback.openai.realtime import log
from discordplex.loopback.openai.realtime.faults import RealtimeFault, error_message, error_type
from discordplex.loopback.openai.realtime.judge import Objection
from discordplex.loopback.openai.realtime.live import LiveSession
from discordplex.loopback.openai.realtime.options import DEFAULTS, DialectName, RealtimeOptions
from discordplex.loopback.openai.realtime.replies import KnownItem
from discordplex.loopback.openai.realtime.session import ServedSession
from discordplex.loopback.openai.realtime.vllm_omni import VllmOmniSession
from discordplex.loopback.openai.realtime.wire import SessionWire
from discordplex.loopback.openai.realtime.xai import XaiSession
from discordplex.loopback.sockets import set_up

LARGEST_MESSAGE_BYTES: Final = 32 << 20
"""Well above 15 MiB of sound, so that the session and not the transport refuses what is too large."""
CLOSE_S: Final = 2.0
RACES: Final = frozenset({"response_cancel_not_active", "conversation_already_has_active_response"})
"""Errors that a client without fault meets, since its events and the server's cross."""
BETA_GONE: Final = Objection(
    "beta_api_shape_disabled", "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."
)
WELL: Final = RealtimeFault()


class Session(Protocol):
    """One client's session, in whichever dialect."""

    items: list[KnownItem]
    """What it knows, in order."""
    wire: SessionWire

    @property
    def instructions(self) -> str:
        """The instructions in force."""
        ...

    @property
    def voice(self) -> str:
        """The voice in force."""
        ...

    def start(self) -> None:
        """The connection is made."""
        ...

    def receive(self, event: Mapping[str, Any]) -> None:
        """Handle one event of the client."""
        ...

    def expire(self) -> None:
        """The session has lasted as long as it may."""
        ...

    def refuse(self, event: Mapping[str, Any], objection: Objection) -> None:
        """Answer a client's event with an error."""
        ...

    async def end(self) -> None:
        """The connection is over."""
        ...


class RealtimeServer:
    """`async with RealtimeServer() as server:` listens at `server.url`; clients add `/realtime?model=...` or `/live/sessions`.

    `key` is the only key that is taken; by default any is, and `vllm-omni` wants none. Each of `changes` is an option, such as
    `replies=talk(10)`; assign `options` to change what it says and how fast. `sessions` are all that there were, oldest first, for a test
    to ask what each knew; `log` is what happened, with times on `clock`.
    """

    def __init__(
        self,
        dialect: DialectName = "openai",
        *,
        key: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Clock | None = None,
        **changes: Any,
    ) -> None:
        self.log = Log()
        self.sessions: list[Session] = []
        self.options: RealtimeOptions = replace(DEFAULTS[dialect], **changes)
        self._dialect: DialectName = dialect
        self._slots: set[VllmOmniSession] = set()
        self._key = key
        self._host, self._port = host, port
        self._clock = clock or SystemClock()
        self._faults: deque[RealtimeFault] = deque()
        self._wires: set[SessionWire] = set()
        self._runner: web.AppRunner | None = None
        self._connections = 0
        self._stopping = asyncio.Event()

    # For tests to read and change

    @property
    def url(self) -> str:
        """The base URL of clients, /v1 included."""
        return f"ws://{self._host}:{self._port}{'/openai' if self._dialect == 'azure' else ''}/v1"

    @property
    def violations(self) -> list[log.EventRefused | log.InvalidEventSent]:
        """What was invalid, in either direction; not what was too late without anybody's fault."""
        return [*(one for one in self.log.of(log.EventRefused) if one.code not in RACES), *self.log.of(log.InvalidEventSent)]

    def received(self, kind: str, client: int | None = None) -> list[log.EventReceived]:
        """The events of this type that clients sent."""
        return [record for record in self.log.of(log.EventReceived, client) if record.type == kind]

    def sent(self, kind: str, client: int | None = None) -> list[log.EventSent]:
        """The events of this type that clients were sent."""
        return [record for record in self.log.of(log.EventSent, client) if record.type == kind]

    def fail(self, *faults: RealtimeFault) -> None:
        """Apply these faults to the next connections, one each, in this order."""
        self._faults.extend(faults)

    @property
    def open_sessions(self) -> int:
        """How many connections there are now."""
        return len(self._wires)

    # Start and stop

    async def __aenter__(self) -> Self:
        """Listen. Raises OSError where the port is not available."""
        app = web.Application()
        base = "/openai/v1" if self._dialect == "azure" else "/v1"
        app.router.add_get(base + ("/live/sessions" if self._dialect == "gpt-live" else "/realtime"), self._connect)
        app.router.add_get(base + "/models", self._list_models)
        app.router.add_get(base + "/models/{name}", self._show_model)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_S)
        _, self._port = await set_up(self._runner, self._host, self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close what is still open with 1001, and stop."""
        self._stopping.set()
        for wire in list(self._wires):
            wire.close(1001, "the server stops")
        if self._runner is not None:
            await self._runner.cleanup()

    # Requests

    def _refuse_key(self, request: web.Request) -> web.Response | None:
        key = key_of(request, self._dialect)
        wants_one = self._key or self._dialect != "vllm-omni"
        if not wants_one or (key and key == (self._key or key)):
            return None
        return web.json_response(shapes.error(401, key=key), status=401)

    async def _list_models(self, request: web.Request) -> web.Response:
        refused = self._refuse_key(request)
        return web.json_response(shapes.models(self.options.models)) if refused is None else refused

    async def _show_model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        refused = self._refuse_key(request)
        if refused is None and name not in self.options.models:
            refused = web.json_response(shapes.error(404, model=name), status=404)
        return web.json_response(shapes.model(name)) if refused is None else refused

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        self._connections += 1
        number = self._connections
        fault = self._faults.popleft() if self._faults else WELL
        if fault.hang:
            await self._stopping.wait()
        refused = answer_of(fault)
        if refused is None:  # not `or`: for aiohttp 3.10 a response is an empty mapping
            refused = self._refuse_key(request)
        if refused is not None:
            self.log.add(log.UpgradeRefused(self._clock.now(), number, refused.status))
            return refused
        websocket = web.WebSocketResponse(timeout=CLOSE_S, max_msg_size=LARGEST_MESSAGE_BYTES)
        await websocket.prepare(request)
        wire = SessionWire(number, websocket, request, records=self.log, clock=self._clock, fault=fault)
        wire.add(log.SessionConnected, path=request.path, query=dict(request.query), key=key_of(request, self._dialect))
        self._wires.add(wire)
        try:
            await self._serve(wire, websocket, request)
        finally:
            self._wires.discard(wire)
        return websocket

    async def _serve(self, wire: SessionWire, websocket: web.WebSocketResponse, request: web.Request) -> None:
        session = self._open(wire, request)
        writer = asyncio.create_task(wire.pump())
        watch = asyncio.create_task(self._end_in_time(wire, session))
        try:
            client_code = await read(websocket, wire, session)
        finally:
            if session is not None:
                await session.end()
            watch.cancel()
            if wire.closed_with is not None:
                # aiohttp ends the reader before it has sent the close frame.
                await asyncio.wait({writer}, timeout=CLOSE_S)
            writer.cancel()
            await asyncio.gather(writer, watch, return_exceptions=True)
        ours = wire.closed_with is not None or wire.was_reset
        by: Literal["client", "server", "network"] = "server" if ours else "client" if client_code else "network"
        wire.add(log.SessionClosed, code=wire.closed_with or client_code or 1006, by=by)

    def _open(self, wire: SessionWire, request: web.Request) -> Session | None:
        """The session that this request opens; None where it gets none, and is told so."""
        session: Session
        code = wire.fault.code
        if code:
            wire.error(Objection(code, error_message(code), type=error_type(code)))
            if wire.fault.close:
                wire.close(wire.fault.close, f"{error_type(code)}.{code}")
            return None
        if self._dialect == "gpt-live":
            session = LiveSession(wire, self.options)
        elif self._dialect == "vllm-omni":
            session = VllmOmniSession(wire, self.options, request.query, self._slots)
        else:
            model = request.query.get("model", "")
            objection = self._objection(model, request.headers)
            if objection is not None:
                wire.error(objection)
                wire.close(4000, f"{objection.type}.{objection.code}")
                return None
            session = (XaiSession if self._dialect == "xai" else ServedSession)(wire, self.options, model)
        self.sessions.append(session)
        session.start()
        return session

    async def _end_in_time(self, wire: SessionWire, session: Session | None) -> None:
        """End a session by the service's clock."""
        started, fault = wire.clock.now(), wire.fault
        if session is None:
            return
        if fault.go_away_s is not None:
            await wire.clock.sleep_until(started + fault.go_away_s)
            wire.inject(json.dumps({"goAway": {"timeLeft": "5s"}}))
        await wire.clock.sleep_until(started + (fault.session_s or self.options.session_s))
        session.expire()

    def _objection(self, model: str, headers: Mapping[str, str]) -> Objection | None:
        """Why a request gets no session, although it was upgraded."""
        if headers.get("OpenAI-Beta"):
            return BETA_GONE
        if not model:
            return Objection("missing_model", "You must provide a model parameter.")
        if model not in self.options.models:
            return Objection("invalid_model", f'Model "{model}" not found or you do not have access to it.')
        return None


def key_of(request: web.Request, dialect: DialectName) -> str:
    """The key that a request came with; Azure has a header of its own for it."""
    if dialect == "azure" and "api-key" in request.headers:
        return request.headers["api-key"]
    return request.headers.get("Authorization", "").removeprefix("Bearer ")


def answer_of(fault: RealtimeFault) -> web.Response | None:
    """The HTTP answer that a fault gives instead of an upgrade."""
    if fault.status is None:
        return None
    headers = {**fault.headers, **({} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"})}
    if fault.html:
        return web.Response(body=shapes.PAGE, status=fault.status, content_type="text/html", headers=headers)
    return web.json_response(shapes.error(fault.status, code=fault.code), status=fault.status, headers=headers)


async def read(websocket: web.WebSocketResponse, wire: SessionWire, session: Session | None) -> int | None:
    """Receive until the connection ends; the code that the client closed with, None where it did not."""
    while True:
        message = await websocket.receive()
        if message.type is WSMsgType.CLOSE:
            return int(message.data)
        if message.type in (WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
            return None
        if session is not None and wire.closed_with is None:
            receive(message, session)


def receive(message: WSMessage, session: Session) -> None:
    """One message of the client."""
    event: Mapping[str, Any] | None = None
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(message.data) if message.type is WSMsgType.TEXT else None
        event = found if isinstance(found, dict) else None
    if event is None:
        session.refuse({}, Objection("invalid_json", "The event could not be parsed: a JSON object in a text message is expected."))
    else:
        session.receive(event)
