"""StandInOpenAI: transcription, chat and speech on 127.0.0.1, in the API's real format, without a model."""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from aiohttp import BodyPartReader, web
from typing_extensions import Self

from discordplex.clock import Clock, SystemClock
from discordplex.loopback.log import Log
from discordplex.loopback.openai import shapes
from discordplex.loopback.openai.faults import Delays, RequestFault, Service
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived, ResponseSent
from discordplex.loopback.openai.voice import FORMATS, encoded, hum, length_ms
from discordplex.loopback.sockets import set_up

BLOCK_BYTES: Final = 4801
"""Odd on purpose: no block of sound ends at the end of a sample, as with the real API's chunks."""
API_KEY: Final = "sk-stand-in-0123456789"
LARGEST_UPLOAD_BYTES: Final = 25 << 20
CLOSE_S: Final = 0.5
USUAL_TYPES: Final[Mapping[Service, str]] = {"transcribe": "application/json", "think": "text/event-stream", "speak": "audio/pcm"}

Hears = Callable[[float], str]
"""The transcription of this many milliseconds of sound."""
Replies = Callable[[Sequence[Mapping[str, str]]], str]
"""The reply to these messages."""
WELL: Final = RequestFault()


def length_as_words(milliseconds: float) -> str:
    """A transcription that gives the length of the sound."""
    return f"I spoke for {milliseconds / 1000:.1f} seconds."


def three_sentences(messages: Sequence[Mapping[str, str]]) -> str:
    """A reply of three sentences."""
    last = next((message["content"] for message in reversed(messages) if message.get("role") == "user"), "nothing")
    return f"Oh, hello! You said: {last.splitlines()[-1]} How lovely, tell me more."


def in_turn(texts: Iterable[str]) -> Callable[[object], str]:
    """One text after the other, then the last one again and again."""
    waiting = deque(texts)
    return lambda _: waiting.popleft() if len(waiting) > 1 else waiting[0]


class StandInOpenAI:
    """The server; an async context manager. Clients need `base_url` and `api_key`; `log` is what happened to it.

    `hears` and `replies` decide what it understands and says. `delays` are measured on `clock`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        delays: Delays | None = None,
        hears: Hears = length_as_words,
        replies: Replies = three_sentences,
        models: Sequence[str] = tuple(shapes.SHUTDOWN_DATES),
        api_key: str = API_KEY,
        clock: Clock | None = None,
    ) -> None:
        self.api_key = api_key
        self.delays = delays or Delays()
        self.hears = hears
        self.replies = replies
        self.log = Log()
        self._host, self._port = host, port
        self._models = list(models)
        self._clock = clock or SystemClock()
        self._faults: dict[Service, deque[RequestFault]] = {"transcribe": deque(), "think": deque(), "speak": deque()}
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """Where it listens, /v1 included."""
        return f"http://{self._host}:{self._port}/v1"

    def fail(self, service: Service, *faults: RequestFault) -> None:
        """Apply these faults to the next requests of that service, one each, in this order."""
        self._faults[service].extend(faults)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=LARGEST_UPLOAD_BYTES)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/v1/models/{name}", self._show_model)
        app.router.add_post("/v1/audio/transcriptions", self._route("transcribe", self._transcribe))
        app.router.add_post("/v1/chat/completions", self._route("think", self._think))
        app.router.add_post("/v1/audio/speech", self._route("speak", self._speak))
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=CLOSE_S, access_log=None)
        _, self._port = await set_up(self._runner, self._host, self._port)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _list_models(self, request: web.Request) -> web.Response:
        refused = self._refuse_key(request)
        return web.json_response(shapes.models(self._models)) if refused is None else refused

    async def _show_model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        refused = self._refuse_key(request)
        if refused is None and name not in self._models:
            refused = web.json_response(shapes.error(404, model=name), status=404)
        return web.json_response(shapes.model(name)) if refused is None else refused

    def _refuse_key(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return None if key == self.api_key else web.json_response(shapes.error(401, key=key), status=401)

    def _route(
        self, service: Service, answer: Callable[["HttpExchange"], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler that logs requests and answers, and applies faults."""

        async def serve(request: web.Request) -> web.StreamResponse:
            number = next(self._numbers)
            try:
                body = await fields_of(request)
                key = request.headers.get("Authorization", "").removeprefix("Bearer ")
                self.log.add(RequestReceived(self._clock.now(), number, service, body, key))
                exchange = HttpExchange(number, service, request, body, self._fault(service, body))
                response = await self._respond(request, exchange, answer)
                if not response.prepared:
                    await response.prepare(request)
                await response.write_eof()
            except (asyncio.CancelledError, ConnectionError):
                self.log.add(ClientHungUp(self._clock.now(), number, service))
                raise
            self.log.add(ResponseSent(self._clock.now(), number, service, response.status))
            return response

        return serve

    async def _respond(
        self, request: web.Request, exchange: "HttpExchange", answer: Callable[["HttpExchange"], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """The first answer that there is. Asked by `is None`: for aiohttp 3.10 a response is an empty mapping, which is false."""
        response: web.StreamResponse | None = self._refuse_key(request)
        if response is None:
            response = await self._send_body(exchange)
        if response is None:
            response = self._refuse(exchange)
        return await answer(exchange) if response is None else response

    def _fault(self, service: Service, body: Mapping[str, Any]) -> RequestFault:
        """The first fault that applies to this request; it is used up."""
        waiting = self._faults[service]
        found = next((fault for fault in waiting if fault.only in str(body)), WELL)
        if found is not WELL:
            waiting.remove(found)
        return found

    def _refuse(self, exchange: "HttpExchange") -> web.Response | None:
        """The error that the fault asks for, or that the request deserves."""
        fault, name = exchange.fault, str(exchange.body.get("model", ""))
        if fault.html:
            return web.Response(body=shapes.PAGE, status=fault.status or 200, content_type="text/html")
        headers = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
        if fault.status is not None:
            return web.json_response(shapes.error(fault.status, model=name, code=fault.code), status=fault.status, headers=headers)
        if name not in self._models:
            return web.json_response(shapes.error(404, model=name), status=404)
        return None

    async def _send_body(self, exchange: "HttpExchange") -> web.StreamResponse | None:
        """The answer that the fault gives literally, None where it gives none."""
        fault = exchange.fault
        if fault.body is None:
            return None
        usual = USUAL_TYPES[exchange.service]
        response = await exchange.stream(fault.content_type or usual, fault.status or 200, fault.headers)
        step = BLOCK_BYTES if fault.drip_ms is None else 1
        for data in itertools.chain([fault.body], itertools.repeat(fault.endless) if fault.endless else ()):
            for start in range(0, len(data), step):
                await response.write(data[start : start + step])
                await self._wait(fault.drip_ms or 0)
        return response

    async def _transcribe(self, exchange: "HttpExchange") -> web.StreamResponse:
        milliseconds = exchange.body.get("file_ms")
        if milliseconds is None:
            return web.json_response(shapes.error(400), status=400)
        await self._wait(self.delays.transcribe_ms)
        await exchange.misbehave(0)
        text = "" if exchange.fault.empty else self.hears(milliseconds)
        if exchange.body.get("response_format") == "text":
            return web.Response(text=f"{text}\n")
        return web.json_response({"text": text, "usage": {"type": "duration", "seconds": round(milliseconds / 1000)}})

    async def _think(self, exchange: "HttpExchange") -> web.StreamResponse:
        messages = exchange.body.get("messages")
        if not isinstance(messages, list):
            return web.json_response(shapes.error(400), status=400)
        text = "" if exchange.fault.empty else self.replies(messages)
        name = str(exchange.body["model"])
        if not exchange.body.get("stream"):
            await self._wait(self.delays.first_token_ms)
            return web.json_response(shapes.completion(exchange.number, name, text))
        response = await exchange.stream("text/event-stream")
        async for data in self._reply(exchange, name, text):
            await response.write(data)
        return response

    async def _reply(self, exchange: "HttpExchange", name: str, text: str) -> AsyncIterator[bytes]:
        """The events of a streamed reply, each when it is due."""
        started, number = self._clock.now(), exchange.number
        await self._wait(self.delays.first_token_ms)
        yield shapes.event(shapes.chunk(number, name, delta={"role": "assistant", "content": "", "refusal": None}))
        for count, token in enumerate(shapes.tokens(text) if text else []):
            await exchange.misbehave(count)
            if count:
                due_ms = (
                    self.delays.first_token_ms + count * self.delays.token_ms
                )  # measured from the beginning, so that lateness does not add up
                await self._wait(due_ms, since=started)
            if exchange.fault.odd:
                yield b": keep-alive\r\n\r\n" + shapes.event({**shapes.chunk(number, name, delta={}), "choices": []})
                yield shapes.event(shapes.chunk(number, name, delta={"content": None})).replace(b"\n", b"\r\n")
            yield shapes.event(shapes.chunk(number, name, delta={"content": token}))
        yield shapes.event(shapes.chunk(number, name, delta={}, finish="stop"))
        yield shapes.event("[DONE]")

    async def _speak(self, exchange: "HttpExchange") -> web.StreamResponse:
        text, kind = exchange.body.get("input"), str(exchange.body.get("response_format", "mp3"))
        if not isinstance(text, str) or kind not in FORMATS:
            return web.json_response(shapes.error(400), status=400)
        sound = b"" if exchange.fault.empty else encoded(hum(text, str(exchange.body.get("voice"))), kind)
        await self._wait(self.delays.speech_ms)
        response = await exchange.stream(FORMATS[kind])
        for count, start in enumerate(range(0, len(sound), BLOCK_BYTES)):
            await exchange.misbehave(count)
            await response.write(sound[start : start + BLOCK_BYTES])
        return response

    async def _wait(self, milliseconds: float, since: float | None = None) -> None:
        """Wait until `milliseconds` after `since`, which is now by default."""
        if milliseconds:
            await self._clock.sleep_until((self._clock.now() if since is None else since) + milliseconds / 1000)


class HttpExchange:
    """One request and its answer."""

    def __init__(self, number: int, service: Service, request: web.Request, body: Mapping[str, Any], fault: RequestFault) -> None:
        self.number = number
        self.service = service
        self.body = body
        self.fault = fault
        self._request = request

    async def stream(self, content_type: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.StreamResponse:
        """An answer whose pieces are sent as they are written."""
        response = web.StreamResponse(status=status, headers={"Content-Type": content_type, **(headers or {})})
        response.enable_chunked_encoding()
        await response.prepare(self._request)
        return response

    async def misbehave(self, sent: int) -> None:
        """Stall or cut where the fault says so, after `sent` pieces."""
        if self.fault.stall_after == sent:
            await asyncio.Event().wait()
        if self.fault.cut_after == sent:
            if self._request.transport is not None:
                self._request.transport.abort()
            raise ConnectionResetError("cut by the stand-in")


async def fields_of(request: web.Request) -> dict[str, Any]:
    """A request's fields; in a multipart one the file is replaced by its length as `file_ms`. An unreadable request has none."""
    if request.content_type == "multipart/form-data":
        return await fields_of_form(request)
    try:
        body = json.loads(await request.read())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def fields_of_form(request: web.Request) -> dict[str, Any]:
    """The fields of a multipart request. Read here, since `request.post` writes files to disk, with three hops to another thread."""
    if (request.content_length or 0) > LARGEST_UPLOAD_BYTES:
        raise web.HTTPRequestEntityTooLarge(LARGEST_UPLOAD_BYTES, request.content_length or 0)
    fields: dict[str, Any] = {}
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader):
            continue
        if part.name == "file":
            fields["file_ms"] = length_ms(await part.read())
        elif part.name:
            fields[part.name] = await part.text()
    return fields
