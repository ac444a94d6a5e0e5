"""LightEngines: many PersonaPlex servers on one loop. They return prepared sound, a step for each 80 ms that comes, and decode nothing."""

import functools
from dataclasses import dataclass, field
from importlib import resources
from types import TracebackType

from aiohttp import WSMsgType, web
from typing_extensions import Self

from discordplex.audio.format import ENGINE, MODEL, MODEL_STEP_MS
from discordplex.loopback.personaplex.codec import SERIAL, AudioWriter
from discordplex.loopback.personaplex.ogg import PageReader, write_page
from discordplex.loopback.personaplex.talker import clip
from discordplex.loopback.sockets import listen
from discordplex.personaplex.endpoint import DEFAULT_PATH
from discordplex.personaplex.protocol import AUDIO, AudioBytes, Handshake, TextPiece, encode

PAGES_PER_STEP = MODEL_STEP_MS // ENGINE.frame_ms
"""The bot sends each frame of 20 ms on a page of its own."""

STEP_SAMPLES = MODEL.rate_hz * MODEL_STEP_MS // 1000
HEADER_PAGES = 2


class PreparedSpeech:
    """The talker's clip over and over, as the messages of a server, by its steps. Only the pages differ from round to round."""

    def __init__(self) -> None:
        self.headers = [encode(AudioBytes(page)) for page in AudioWriter().headers()]
        ogg = resources.files("discordplex.loopback.personaplex").joinpath("talker.ogg").read_bytes()
        self._packets = list(PageReader().feed(ogg))
        self.steps = len(self._packets)
        """Of the clip."""
        self._pieces = [[encode(TextPiece(piece)) for piece in step.pieces] for step in clip().steps]
        self.messages = functools.lru_cache(maxsize=4096)(self._messages)
        """What a server sends after the step of that number: pieces of text and a page. All conversations are given the same bytes."""

    def _messages(self, step: int) -> list[bytes]:
        number = step % len(self._packets)
        page = write_page([self._packets[number]], flags=0, granule=(step + 1) * STEP_SAMPLES, serial=SERIAL, number=step + HEADER_PAGES)
        return [*self._pieces[number], encode(AudioBytes(page))]


@dataclass(slots=True)
class LightEngines:
    """So many servers between `async with` and its end, each with a port of its own for one conversation at a time."""

    servers: int
    urls: list[str] = field(default_factory=list)
    listening: int = 0
    """Conversations that have had their handshake and go on."""
    steps: int = 0
    """Steps of all conversations."""
    _runner: web.AppRunner | None = None
    _speech: PreparedSpeech = field(default_factory=PreparedSpeech)

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get(DEFAULT_PATH, self._converse)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        for _ in range(self.servers):
            site, _ = await listen(self._runner, "127.0.0.1", 0)
            self.urls.append(f"ws://127.0.0.1:{self._runner.addresses[-1][1]}")
            del site
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _converse(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_bytes(encode(Handshake()))
        for message in self._speech.headers:
            await socket.send_bytes(message)
        self.listening += 1
        try:
            await self._answer(socket)
        except ConnectionError:  # the bot has gone while something was sent
            pass
        finally:
            self.listening -= 1
        return socket

    async def _answer(self, socket: web.WebSocketResponse) -> None:
        """Send what belongs to each step; the clock is the sound that comes, as a model's is."""
        pages = 0
        async for message in socket:
            if message.type is not WSMsgType.BINARY or message.data[:1] != AUDIO:
                continue
            pages += 1
            if pages % PAGES_PER_STEP == 0:
                self.steps += 1
                for answer in self._speech.messages(pages // PAGES_PER_STEP - 1):
                    await socket.send_bytes(answer)
