"""ServiceResponse: a server's answer, read within limits.

Nothing is decompressed, everything that is kept is counted, and each answer is limited; the HTTP library and the SDK would read whatever
comes. While many small pieces arrive, the rest of the process gets its turns.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final

import anyio

from discordplex.clock import Clock
from discordplex.services.faults import HttpError, OverdueError, ServiceError, error_in_answer, failed, no_api_error
from discordplex.services.service import Service
from discordplex.services.sse import LONGEST_EVENT_BYTES, EventReader, EventTooLongError

MOST_BYTES: Final = 64 << 20
"""Limit of any answer: more than the longest sound that is played, without compression."""
MOST_JSON_BYTES: Final = 2 << 20
"""Limit of an answer that has to be complete before it can be read. A transcript with a time for each word is 100 kB."""
MOST_JSON_VALUES: Final = 20_000
"""Limit of the values in one JSON text: each takes memory and time, and `[[],[],...` has one in three bytes."""
MOST_ERROR_BYTES: Final = 1 << 16
MOST_EVENT_BYTES: Final = 16 << 20
"""Limit of a streamed reply: a reply of 4,000 characters is 300 kB, and a model may reason for 40,000 tokens before it."""
MOST_WHITE_BYTES: Final = 1 << 10
PAGE: Final = re.compile(rb"<(!doctype|html|head|body|\?xml)", re.IGNORECASE)
"""How a web page begins; sound may begin with its first byte."""
WHITE: Final = b" \t\r\n\xef\xbb\xbf"
"""A byte order mark counts as white space."""
MOST_LINES: Final = 200_000
TOO_MUCH: Final = "sends more than any answer has. Try another server."
DECODER: Final = json.JSONDecoder(parse_int=float)
"""Parsing an integer of many digits would take time with their square."""
DONE: Final = b"[DONE]"
"""The event after the last one."""
ERROR_EVENT: Final = b"error"
"""The name of an event that holds an error message, in whatever form."""
END_S: Final = 0.1
"""Real time to wait for the bytes after `DONE`: some servers leave the connection open, and the reply's last words wait for its end."""
END: Final = object()
TURN_BYTES: Final = 512
TURN_PIECES: Final = 16
"""Pieces of an answer that are processed before the loop's other tasks run."""


class NoJsonError(Exception):
    """The text is not JSON, or exceeds the limits."""


class ServiceResponse:
    """One answer of a server, from its headers on. Read it once, by one of `blocks`, `whole` and `messages`."""

    def __init__(self, response: Any, service: Service, clock: Clock, deadline: float) -> None:
        """`response` is the HTTP library's, not read yet; it must be complete at `deadline`."""
        self._response = response
        self._service = service
        self._clock = clock
        self._deadline = deadline
        self._raw = pieces_of(response)
        self._begin = b""
        self.content_type: str = response.headers.get("content-type", "").lower()[:200]
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            what = "sends compressed data although we ask for none. Switch compression off in it, or in the proxy on the way."
            raise failed(service, what, "compressed")

    async def begin(self) -> bytes:
        """The first bytes, without white space before them; they are read again with the rest. b"" where there are none."""
        while not (begin := self._begin.lstrip(WHITE)[:64]) and len(self._begin) < MOST_WHITE_BYTES:
            piece = await anext(self._raw, b"")
            if not piece:
                break
            self._begin += piece
            self._check_time()
        return begin

    async def is_page(self) -> bool:
        """Whether it is a web page, such as a proxy sends."""
        return "html" in self.content_type or PAGE.match(await self.begin()) is not None

    async def blocks(self, most_bytes: int = MOST_BYTES) -> AsyncGenerator[bytes, None]:
        """The bytes as they come. Raises OverdueError, and ServiceError where something fails or there are more than `most_bytes`."""
        count, self._begin, begin = len(self._begin), b"", self._begin
        if begin:
            yield begin
        async for piece in self._raw:
            count += len(piece)
            if count > most_bytes:
                raise failed(self._service, TOO_MUCH, "too much data")
            self._check_time()
            yield piece

    async def whole(self, most_bytes: int = MOST_JSON_BYTES) -> bytes:
        """All bytes; for text only."""
        data = bytearray()
        async for block in self.blocks(most_bytes):
            data += block
        return bytes(data)

    async def messages(self, longest: int = LONGEST_EVENT_BYTES) -> AsyncGenerator[Any, None]:
        """Each event's JSON as it comes; an answer that is one JSON text is one message. Raises ServiceError where it is neither.

        `longest` is the limit of one event in bytes. A long event is parsed in a thread.
        """
        if (await self.begin()).startswith(b"{"):
            data = await self.whole(max(longest, MOST_JSON_BYTES))
            found = json_messages(data, self._service)
            while (message := await worked(len(data), next, found, END)) is not END:
                yield message
                await asyncio.sleep(0)
            return
        async with contextlib.aclosing(self._events(longest)) as events:
            async for name, data in events:
                if data.strip() == DONE:
                    break
                if data.strip() and name == ERROR_EVENT:
                    raise error_in_answer(self._service, await worked(len(data), words_in, data))
                if data.strip():
                    yield await worked(len(data), self._event, data)
            else:
                return
        await self._end()

    async def _end(self) -> None:
        """The event that ends a stream has come: read on for a moment, since only a connection that is read to its end is used again."""
        with anyio.move_on_after(END_S):
            async for _ in self._raw:
                self._check_time()

    async def _events(self, longest: int) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """Name and data of each event. Raises TimeoutError where only comments came during the service's timeout."""
        reader, heard_at, lines, work = EventReader(longest), self._clock.now(), 0, 0
        try:
            async for block in self.blocks(MOST_EVENT_BYTES):
                for data in reader.feed(block):
                    if data:
                        heard_at = self._clock.now()
                        yield reader.name, data
                    lines += 1
                    work += 1 + len(data) // TURN_BYTES
                    if work >= TURN_PIECES:
                        work = 0
                        await asyncio.sleep(0)
                if lines > MOST_LINES:
                    raise failed(self._service, TOO_MUCH, "too much data")
                if self._clock.now() - heard_at > self._service.timeout_s:
                    raise TimeoutError
            for data in reader.finish():
                yield reader.name, data
        except EventTooLongError:
            raise failed(self._service, "sends one line without an end. Try another server.", "endless line") from None

    def _event(self, data: bytes) -> Any:
        try:
            return parsed(data)
        except NoJsonError:
            raise no_api_error(self._service) from None

    def _check_time(self) -> None:
        if self._clock.now() >= self._deadline:
            raise OverdueError


async def worked(size: int, work: Callable[..., Any], *args: Any) -> Any:
    """What `work` returns; run in a thread where it has so many bytes to read that the loop would wait for milliseconds."""
    return await asyncio.to_thread(work, *args) if size > LONGEST_EVENT_BYTES else work(*args)


async def pieces_of(response: Any) -> AsyncGenerator[bytes, None]:
    """A response's bytes as they were sent, with a turn for other tasks in between: a server may send them one by one."""
    count = 0
    async for piece in response.aiter_raw():
        count += 1
        if count % TURN_PIECES == 0:
            await asyncio.sleep(0)
        yield piece


async def refuse_failure(response: Any) -> None:
    """Raise HttpError where the status is no success: a hook for the HTTP library, called before the body is read."""
    if response.status_code < 300:  # noqa: PLR2004 -- where success ends
        return
    body, kept = None, bytearray()
    if response.headers.get("content-encoding", "identity") == "identity":
        async for piece in pieces_of(response):
            kept += piece
            if len(kept) > MOST_ERROR_BYTES:
                break
        try:
            body = parsed(bytes(kept))
        except NoJsonError:
            body = None
    raise HttpError(response.status_code, response.headers, body)


def parsed(data: bytes) -> Any:
    """Parse JSON within the limits. Raises NoJsonError."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_JSON_VALUES:
        raise NoJsonError
    try:
        return DECODER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except (ValueError, RecursionError):
        raise NoJsonError from None


def words_in(data: bytes) -> Any:
    """JSON, or text where it is none."""
    try:
        return parsed(data)
    except NoJsonError:
        return data.decode(errors="replace")


def json_messages(data: bytes, service: Service) -> Iterator[Any]:
    """One JSON text, or one in each line, parsed on demand. Raises ServiceError where it is neither."""
    try:
        yield parsed(data)
    except NoJsonError:
        if data.count(b"\n") + data.count(b"\r") > MOST_LINES:
            raise failed(service, TOO_MUCH, "too much data") from None
    else:
        return
    lines = [line for line in data.splitlines() if line.strip()]
    try:
        yield from map(parsed, lines or [b""])
    except NoJsonError:
        raise unreadable(data, service) from None


def unreadable(data: bytes, service: Service) -> ServiceError:
    """The error for JSON that cannot be read."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") > MOST_JSON_VALUES:
        return failed(service, TOO_MUCH, "too much data")
    return no_api_error(service)
