"""ServerConversation: one client's conversation with a stand-in server: prompts, handshake, and one model step for each 80 ms of input."""

import asyncio
import dataclasses
import math
import random
from collections.abc import Callable

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from discordplex.audio.format import MODEL
from discordplex.clock import Clock
from discordplex.loopback.log import Log, Record
from discordplex.loopback.personaplex import log
from discordplex.loopback.personaplex.codec import STEP_BYTES, AudioReader, AudioWriter
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.ogg import OggStreamError
from discordplex.loopback.personaplex.voice_model import VoiceModelFactory
from discordplex.loopback.sockets import reset_connection
from discordplex.personaplex.protocol import AudioBytes, Handshake, Kind, Message, Other, TextPiece, encode
from discordplex.tasks import cancel_and_wait

VOICE_STEPS = 50 + 6
"""A voice has 50 frames (for the voices that come with the model; third-party figure), and six steps of silence follow it."""

SILENCE_STEPS = 6
"""After the text prompt."""

CHARACTERS_PER_TOKEN = 4

NATURAL_JITTER_MS = 3.0
NATURAL_LIMIT_MS = 9.0
"""Step times scattered like this leave blocks 71 (1 %), 80 (median), 90 (99 %), at most 98 ms apart, as measured."""

SLOW_STEPS = 6
"""Steps of a slow start."""

ABNORMAL = int(WSCloseCode.ABNORMAL_CLOSURE)
ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})


@dataclasses.dataclass(frozen=True, slots=True)
class RequestedPersona:
    """A persona as a client's query requested it."""

    voice: str
    text_prompt: str

    @property
    def text_steps(self) -> int:
        """Steps that the role takes: one for each token."""
        return math.ceil(len(self.text_prompt) / CHARACTERS_PER_TOKEN) + SILENCE_STEPS


@dataclasses.dataclass(kw_only=True)
class ServerState:
    """What all conversations of one server share: the model, and the persona that the newest client requested."""

    clock: Clock
    new_model: VoiceModelFactory
    faults: Faults
    step_ms: float
    prompt_step_ms: float
    packets_per_step: int
    versions: bytes = b""
    """What follows the kind byte of the handshake. Kyutai's Rust server sends versions, and it reads pings as messages."""
    log: Log = dataclasses.field(default_factory=Log)
    model_lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    requested: RequestedPersona | None = None
    rng: random.Random = dataclasses.field(default_factory=random.Random)

    async def pause(self, seconds: float) -> None:
        """Sleep on the clock of the server."""
        await self.clock.sleep_until(self.clock.now() + seconds)


class DelayedMessages:
    """Messages in the order they were put, each sent when it is due. Unbounded: the real server drops nothing."""

    def __init__(self, websocket: web.WebSocketResponse, clock: Clock, on_sent: Callable[[Kind, bytes], None]) -> None:
        self._socket = websocket
        self._clock = clock
        self._on_sent = on_sent
        self._waiting: asyncio.Queue[tuple[float, list[bytes | str]]] = asyncio.Queue()

    def put(self, *messages: bytes | str, delay_s: float = 0.0) -> None:
        """Send these together, `delay_s` from now; what follows waits for them. A string goes out as a WebSocket text message."""
        self._waiting.put_nowait((self._clock.now() + delay_s, list(messages)))

    async def run(self) -> None:
        """Send messages until cancelled."""
        while True:
            due, messages = await self._waiting.get()
            await self._clock.sleep_until(due)
            for message in messages:
                await self._send(message)

    async def _send(self, message: bytes | str) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
            return
        if message[:1] in (bytes((Kind.TEXT,)), bytes((Kind.AUDIO,))):
            # Logged first: a client may answer before this task runs again.
            self._on_sent(Kind(message[0]), message[1:])
        await self._socket.send_bytes(message)


class ServerConversation:
    """A conversation from the lock to the close. Thread: loop."""

    def __init__(
        self, *, number: int, state: ServerState, websocket: web.WebSocketResponse, transport: asyncio.BaseTransport | None
    ) -> None:
        self.silent = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._number = number
        self._state = state
        self._socket = websocket
        self._transport = transport
        self._handshake_sent = False
        self._failure: OggStreamError | None = None
        self._failed = asyncio.Event()
        self._closed_by_server = False
        self._rejected_with: int | None = None
        self._reader = AudioReader()
        self._writer = AudioWriter(state.packets_per_step)
        self._model = state.new_model()
        # Unbounded, as in the real server: a client that sends too much gets later and later answers.
        self._input = bytearray()
        self._outbox = DelayedMessages(websocket, state.clock, self._log_sent)
        self._input_arrived = asyncio.Event()
        self._steps = 0

    async def run(self) -> None:
        """Run until the client leaves or the audio loop fails; then close with 1000, as the real server does."""
        reading = asyncio.create_task(self._read())
        tasks = [asyncio.create_task(self._prompt())]
        try:
            await asyncio.wait([reading, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                tasks += map(asyncio.create_task, (self._run_model(), self._outbox.run(), self._fail()))
                await asyncio.wait([reading, *tasks[1:]], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end(reading, tasks)

    # Faults on demand

    def crash(self, why: str = "told to") -> None:
        """Raise an exception in the audio loop."""
        self._failure = OggStreamError(why)
        self._failed.set()

    def reset(self) -> None:
        """Reset the TCP connection, as when the process is killed."""
        reset_connection(self._transport)

    async def close(self, code: int) -> None:
        """Close with a code that a proxy might use; the real server does not."""
        self._closed_by_server = True
        await self._socket.close(code=code)

    def inject(self, message: bytes | str) -> None:
        """Send any message after the waiting ones; a string is sent as a WebSocket text message."""
        self._outbox.put(message)

    # Loops

    async def _read(self) -> None:
        """Receive until the client leaves."""
        while True:
            await self.reading.wait()
            message = await self._socket.receive()
            if isinstance(message.data, WebSocketError):
                # aiohttp has closed with this code; what its client made of it changes nothing.
                self._rejected_with = int(message.data.code)
            if message.type in ENDS:
                return
            if message.type is WSMsgType.PING:
                self._log(log.Pinged, size=len(message.data))
                if not self._state.versions:
                    await self._socket.pong(message.data)
                elif message.data and message.data[0] > Kind.PING:
                    self.reset()
            elif not self._handshake_sent:
                self._log(log.MessageDiscarded, size=len(message.data))
            else:
                self._receive_audio(message)

    async def _prompt(self) -> None:
        """Load voice and role step by step, then send the handshake."""
        self._log(log.PromptsLoading)
        step_s = self._state.prompt_step_ms / 1000
        await self._state.pause(VOICE_STEPS * step_s)
        # Read only now: as on the real server, a client that connects replaces the persona of a session that is being set up.
        persona = self._state.requested or RequestedPersona("", "")
        await self._state.pause(persona.text_steps * step_s)
        if self._state.faults.no_handshake:
            await asyncio.Event().wait()
        self._handshake_sent = True
        # Logged first: a client may answer before this task runs again.
        self._log(log.HandshakeSent, voice=persona.voice, text_prompt=persona.text_prompt)
        if self._state.versions:
            await self._socket.send_bytes(encode(Other(Kind.METADATA, b"{}")))
        await self._socket.send_bytes(encode(Handshake(self._state.versions)))
        if self._state.packets_per_step == 1:
            for page in self._writer.headers():
                await self._socket.send_bytes(encode(AudioBytes(page)))

    async def _run_model(self) -> None:
        """Run one step for each 80 ms of input: no input, no output."""
        while True:
            heard = await self._next_step()
            started = self._state.clock.now()
            spoken = self._model.step(heard)
            pages = self._writer.encode(spoken.pcm)
            if self._steps == 0 and self._state.packets_per_step > 1:
                pages = b"".join(self._writer.headers()) + pages
            await self._state.clock.sleep_until(started + self._step_s())
            self._steps += 1
            self._apply_faults()
            if not self.silent:
                messages: tuple[Message, ...] = (*map(TextPiece, spoken.pieces), AudioBytes(pages))
                late_s = self._state.rng.uniform(0, self._state.faults.late_ms) / 1000
                self._outbox.put(*map(encode, messages), delay_s=late_s)

    async def _fail(self) -> None:
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    # Parts of the loops

    def _receive_audio(self, message: WSMessage) -> None:
        data = message.data if message.type is WSMsgType.BINARY else b""
        if not data or data[0] != Kind.AUDIO:
            self._log(log.MessageIgnored, kind=data[0] if data else None)
            return
        try:
            pcm = self._reader.feed(data[1:])
        except OggStreamError as failure:
            self.crash(str(failure))
            return
        self._log(log.AudioReceived, size=len(data), samples=len(pcm) // MODEL.sample_bytes)
        self._input += pcm
        self._input_arrived.set()

    async def _next_step(self) -> bytes:
        while len(self._input) < STEP_BYTES:
            self._input_arrived.clear()
            await self._input_arrived.wait()
        heard = bytes(self._input[:STEP_BYTES])
        del self._input[:STEP_BYTES]
        return heard

    def _step_s(self) -> float:
        faults, rng = self._state.faults, self._state.rng
        scatter_ms = rng.gauss(0, NATURAL_JITTER_MS) if faults.natural_spacing else 0.0
        slower_ms = rng.uniform(0, faults.slow_start_ms) if self._steps < SLOW_STEPS else 0.0
        return max(0.0, self._state.step_ms + max(-NATURAL_LIMIT_MS, min(NATURAL_LIMIT_MS, scatter_ms)) + slower_ms) / 1000

    def _apply_faults(self) -> None:
        faults = self._state.faults
        if self._steps == faults.crash_after_steps:
            raise OggStreamError("told to")
        if self._steps == faults.silent_after_steps:
            self.silent = True
        if self._steps == faults.reset_after_steps:
            self.reset()

    async def _end(self, reading: asyncio.Task[None], tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        for failure in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(failure, OggStreamError):
                self._log(log.Crashed, why=str(failure))
        if not reading.done():
            # Before the reader is cancelled: cancelling `receive` would make aiohttp skip the close frame.
            self._closed_by_server = True
            await self._socket.close(code=WSCloseCode.OK)
        await cancel_and_wait(reading)
        code = self._rejected_with or self._socket.close_code or WSCloseCode.OK
        by = "server" if self._closed_by_server or self._rejected_with else "network" if code == ABNORMAL else "client"
        self._log(log.ConversationClosed, code=int(code), by=by)

    def _log(self, kind: type[Record], /, **facts: object) -> None:
        self._state.log.add(kind(self._state.clock.now(), self._number, **facts))

    def _log_sent(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.TEXT:
            self._log(log.TextSent, piece=payload.decode(errors="replace"))
        else:
            self._log(log.AudioSent, size=len(payload))
