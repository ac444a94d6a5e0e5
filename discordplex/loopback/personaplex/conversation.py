"""One client's conversation with a stand-in server: prompts, handshake, and a model that steps when it is given something to hear."""

import asyncio
import dataclasses
import math
import random
import socket
import struct
from collections.abc import Iterable

from aiohttp import WebSocketError, WSCloseCode, WSMessage, WSMsgType, web

from discordplex.audio.format import MODEL
from discordplex.clock import Clock
from discordplex.loopback.personaplex import log
from discordplex.loopback.personaplex.codec import STEP_BYTES, Ear, Mouth
from discordplex.loopback.personaplex.faults import Faults
from discordplex.loopback.personaplex.log import Log
from discordplex.loopback.personaplex.mind import MindFactory
from discordplex.loopback.personaplex.ogg import StreamDead
from discordplex.personaplex import protocol
from discordplex.personaplex.protocol import AudioBytes, Handshake, Kind, TextPiece

VOICE_STEPS = 50 + 6
"""A voice has 50 frames (for the voices that come with the model; third-party figure), and six steps of silence follow it."""

SILENCE_STEPS = 6
"""After the text prompt."""

CHARACTERS_PER_TOKEN = 4

NATURAL_JITTER_MS = 3.0
NATURAL_LIMIT_MS = 9.0
"""Step times scattered like this leave blocks 71 (1 %), 80 (median), 90 (99 %), at most 98 ms apart, as measured."""

ABNORMAL = int(WSCloseCode.ABNORMAL_CLOSURE)
ENDS = frozenset({WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR})
HARD_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: the kernel answers with a reset."""


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A persona as a client's query asked for it."""

    voice: str
    text_prompt: str

    @property
    def text_steps(self) -> int:
        """Steps that the role takes: one for each token."""
        return math.ceil(len(self.text_prompt) / CHARACTERS_PER_TOKEN) + SILENCE_STEPS


@dataclasses.dataclass(kw_only=True)
class Desk:
    """What all conversations of one server share: the one model, and whatever the last client that connected has put on it."""

    clock: Clock
    mind: MindFactory
    faults: Faults
    step_ms: float
    prompt_step_ms: float
    packets_per_step: int
    log: Log = dataclasses.field(default_factory=Log)
    model: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)
    asked: Asked | None = None
    dice: random.Random = dataclasses.field(default_factory=random.Random)


class Conversation:
    """From the lock to the close. Methods: the loop's thread."""

    def __init__(self, *, number: int, desk: Desk, websocket: web.WebSocketResponse, transport: asyncio.BaseTransport | None) -> None:
        self.silent = False
        self.reading = asyncio.Event()
        self.reading.set()
        self._number = number
        self._desk = desk
        self._socket = websocket
        self._transport = transport
        self._live = False
        self._crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._by_server = False
        self._rejected_with: int | None = None
        self._ear = Ear()
        self._mouth = Mouth(desk.packets_per_step)
        self._mind = desk.mind()
        self._heard = bytearray()
        # Neither this nor `_heard` has a bound: the real server sheds nothing, and that is the point.
        self._out: asyncio.Queue[tuple[float, list[bytes]]] = asyncio.Queue()
        self._heard_more = asyncio.Event()
        self._steps = 0

    async def run(self) -> None:
        """Converse until the client leaves or the audio loop dies; then close, always with 1000, as the real server does."""
        tasks = [asyncio.create_task(self._read())]
        try:
            tasks.append(asyncio.create_task(self._prompt()))
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if tasks[0].done():
                return
            await tasks.pop()
            tasks += [asyncio.create_task(self._think()), asyncio.create_task(self._send()), asyncio.create_task(self._fail())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            self._note_crash(results)
            await self._close()

    # Faults on demand.

    def crash(self, why: str = "told to") -> None:
        """An exception in the audio loop."""
        if not self._crash.done():
            self._crash.set_exception(StreamDead(why))

    def reset(self) -> None:
        """The process dies: TCP reset, and what was in the buffers is gone."""
        if isinstance(self._transport, asyncio.Transport):
            raw = self._transport.get_extra_info("socket")
            if raw is not None:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, HARD_CLOSE)
            self._transport.abort()

    async def close(self, code: int) -> None:
        """Say goodbye with a code that the real server would not use, but a proxy might."""
        self._by_server = True
        await self._socket.close(code=code)

    def inject(self, message: bytes | str, delay_s: float = 0.0) -> None:
        """Send any message in the order of the others."""
        # A string marks a WebSocket text message: no kind byte, no bytes.
        self._out.put_nowait(
            (self._desk.clock.now() + delay_s, [message] if isinstance(message, bytes) else [TEXT_MARK + message.encode()])
        )

    # The four loops.

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
                self._log(log.Pinged)
                await self._socket.pong(message.data)
            elif not self._live:
                self._log(log.Discarded, size=len(message.data))
            else:
                self._hear(message)

    async def _prompt(self) -> None:
        """Load voice and role, step by step, then shake hands."""
        self._log(log.Prompting)
        step_s = self._desk.prompt_step_ms / 1000
        await self._pause(VOICE_STEPS * step_s)
        # Read only now, from where every client that connects leaves its own: a mere connect hijacks a session that is being set up.
        asked = self._desk.asked or Asked("", "")
        await self._pause(asked.text_steps * step_s)
        if self._desk.faults.no_handshake:
            await asyncio.Event().wait()
        self._live = True
        # Written down first: a client may answer before this task runs again.
        self._log(log.Handshook, voice=asked.voice, text_prompt=asked.text_prompt)
        await self._socket.send_bytes(protocol.encode(Handshake()))
        if self._desk.packets_per_step == 1:
            for page in self._mouth.headers():
                await self._socket.send_bytes(protocol.encode(AudioBytes(page)))

    async def _think(self) -> None:
        """Step whenever 80 ms have been heard: no input, no output."""
        while True:
            heard = await self._next_step()
            started = self._desk.clock.now()
            spoken = self._mind.step(heard)
            pages = self._mouth.speak(spoken.pcm)
            if self._steps == 0 and self._desk.packets_per_step > 1:
                pages = b"".join(self._mouth.headers()) + pages
            await self._desk.clock.sleep_until(started + self._step_s())
            self._steps += 1
            self._misbehave()
            if not self.silent:
                messages: Iterable[protocol.Message] = (*map(TextPiece, spoken.pieces), AudioBytes(pages))
                due = self._desk.clock.now() + self._desk.dice.uniform(0, self._desk.faults.late_ms) / 1000
                self._out.put_nowait((due, [protocol.encode(message) for message in messages]))

    async def _send(self) -> None:
        """Send each block when it is due; one that is late makes the next ones wait."""
        while True:
            due, messages = await self._out.get()
            await self._desk.clock.sleep_until(due)
            for message in messages:
                self._log_sent(message)
                if message.startswith(TEXT_MARK):
                    await self._socket.send_str(message.removeprefix(TEXT_MARK).decode())
                else:
                    await self._socket.send_bytes(message)

    async def _fail(self) -> None:
        await self._crash

    # Their parts.

    def _hear(self, message: WSMessage) -> None:
        data = message.data if message.type is WSMsgType.BINARY else b""
        if not data or data[0] != Kind.AUDIO:
            self._log(log.Odd, kind=data[0] if data else None)
            return
        try:
            pcm = self._ear.feed(data[1:])
        except StreamDead as death:
            self.crash(str(death))
            return
        self._log(log.Heard, size=len(data), samples=len(pcm) // MODEL.sample_bytes)
        self._heard += pcm
        self._heard_more.set()

    async def _next_step(self) -> bytes:
        while len(self._heard) < STEP_BYTES:
            self._heard_more.clear()
            await self._heard_more.wait()
        heard = bytes(self._heard[:STEP_BYTES])
        del self._heard[:STEP_BYTES]
        return heard

    def _step_s(self) -> float:
        scatter = self._desk.dice.gauss(0, NATURAL_JITTER_MS) if self._desk.faults.natural_spacing else 0.0
        return max(0.0, self._desk.step_ms + max(-NATURAL_LIMIT_MS, min(NATURAL_LIMIT_MS, scatter))) / 1000

    def _misbehave(self) -> None:
        faults = self._desk.faults
        if self._steps == faults.crash_after_steps:
            raise StreamDead("told to")
        if self._steps == faults.silent_after_steps:
            self.silent = True
        if self._steps == faults.reset_after_steps:
            self.reset()

    async def _pause(self, seconds: float) -> None:
        await self._desk.clock.sleep_until(self._desk.clock.now() + seconds)

    def _note_crash(self, results: list[BaseException | None]) -> None:
        for result in results:
            if isinstance(result, StreamDead):
                self._by_server = True
                self._log(log.Crashed, why=str(result))
        if not self._crash.done():
            self._crash.cancel()

    async def _close(self) -> None:
        code = self._rejected_with or self._socket.close_code
        if code is None:
            self._by_server = True
            await self._socket.close(code=WSCloseCode.OK)
            code = int(WSCloseCode.OK)
        by = "network" if code == ABNORMAL else "server" if self._by_server or self._rejected_with else "client"
        self._log(log.Closed, code=int(code), by=by)

    def _log(self, kind: type[log.Record], /, **facts: object) -> None:
        self._desk.log.add(kind(self._desk.clock.now(), self._number, **facts))

    def _log_sent(self, message: bytes) -> None:
        if message[:1] == bytes((Kind.TEXT,)):
            self._log(log.Texted, piece=message[1:].decode(errors="replace"))
        elif message[:1] == bytes((Kind.AUDIO,)):
            self._log(log.Said, size=len(message))


TEXT_MARK = b"\xff\x00WebSocket text\x00"
"""Begins what is to go out as a WebSocket text message; no message of the protocol begins so."""
