"""Where log lines go, and what they may contain.

Every module uses `structlog.get_logger()`. Warnings and errors that libraries log (py-cord, websockets, aiohttp, asyncio) pass the same
processors. Lines go to stderr: for people on a terminal, otherwise one JSON object per line.

The log has no secrets, and no text of a server or a person. Of an exception it keeps the kind and the place where it was raised, not the
message, because many messages quote a server's answer. Of a library's line it keeps the library's own words and the numbers. Every value is
one line without control characters, so that no name can forge a line.

A line that cannot be written, because the disk is full or its reader is gone, is lost; the code that logs is not disturbed.
"""

import contextlib
import errno
import importlib.util
import logging
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias, cast

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from discordplex.descriptors import LIMIT_REACHED
from discordplex.plaintext import one_line, visible
from discordplex.redact import MASK, redact

LogFormat: TypeAlias = Literal["rich", "json"]
LEVELS = ("debug", "info", "warning", "error")

SHORTEST_SECRET = 6
"""A shorter secret is masked only as a whole word; otherwise it would mask parts of ordinary words."""

SHORTEST_WORD = 4
"""A secret shorter than this is not searched for."""

LONGEST_VALUE = 2000
"""The most characters of one value in a log line."""

MOST_EXCEPTIONS = 12
"""The most exceptions that are logged of a chain or a group."""

CANNOT_ACCEPT = "socket.accept() out of system resource"
NO_CONNECTIONS = f"no connection can be accepted: {LIMIT_REACHED}"
ACCEPT_PAUSE_S = 10.0

Observer: TypeAlias = Callable[[EventDict], None]

_observers: list[Observer] = []
_secrets: set[str] = set()
_words: set[str] = set()


def keep_secret(secret: SecretStr | None) -> None:
    """From now on mask this value everywhere in log lines."""
    value = secret.get_secret_value() if secret else ""
    if len(value) >= SHORTEST_SECRET:
        _secrets.add(value)
    elif len(value) >= SHORTEST_WORD:
        _words.add(value)


def set_up(log_format: LogFormat | None = None, level: str = "info", stream: TextIO | None = None) -> None:
    """Send the log to `stream` (default: stderr) as `log_format`. The default format is rich on a terminal, json otherwise."""
    stream = stream or sys.stderr
    people = log_format == "rich" or (log_format is None and stream.isatty())
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
        outline_exceptions,
        mask,
        tell_observers,
    ]
    renderer: Processor = for_people(stream) if people else structlog.processors.JSONRenderer(ensure_ascii=False)
    lines = cast("TextIO", Lines(stream))
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=lines),
        # A test that captures log lines must reach loggers that were used before.
        cache_logger_on_first_use=False,
    )
    route_logging(chain, renderer, lines)


@contextlib.contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """In the block, `observer` gets every line that is logged, after it was masked. Thread: whichever logs. It must not change the line."""
    _observers.append(observer)
    try:
        yield
    finally:
        _observers.remove(observer)


def tell_observers(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Pass a line on to the observers."""
    for observer in _observers:
        observer(event)
    return event


class Lines:
    """The part of a stream that a log needs. Nothing raises: a failed write would end the task that logs, such as a call."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write `text`, if possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush the stream, if possible."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def route_logging(chain: list[Processor], renderer: Processor, stream: TextIO) -> None:
    """Log the libraries' warnings through the same processors. Nothing below warnings: py-cord's debug lines contain session keys."""
    handler = logging.StreamHandler(stream)
    handler.addFilter(FailedAccepts())
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler.setFormatter(LibraryFormatter(foreign_pre_chain=[name_logger, *chain], processors=processors))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)


def for_people(stream: TextIO) -> Processor:
    """Aligned lines, coloured if the terminal can and NO_COLOR is not set; tracebacks without values of variables."""
    return structlog.dev.ConsoleRenderer(colors=coloured(stream, os.environ), exception_formatter=structlog.dev.plain_traceback)


def coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether colours are wanted (https://no-color.org) and can be shown; on Windows structlog needs colorama for them."""
    if not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return sys.platform != "win32" or importlib.util.find_spec("colorama") is not None


def name_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the name of the library that logs."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["library"] = record.name
    return event


class FailedAccepts(logging.Filter):
    """Keeps one line in `ACCEPT_PAUSE_S` of those in which asyncio says that it cannot accept a connection: a hundred a second."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the line; one that is kept loses its traceback, which says nothing."""
        if record.name != "asyncio" or not str(record.msg).startswith(CANNOT_ACCEPT):
            return True
        if record.created - self._logged_at < ACCEPT_PAUSE_S:
            return False
        self._logged_at = record.created
        record.msg, record.args, record.exc_info = NO_CONNECTIONS, (), None
        return True


class LibraryFormatter(structlog.stdlib.ProcessorFormatter):
    """Formats a library's line after removing every text that is not its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. The record is not changed."""
        record = logging.makeLogRecord(record.__dict__)
        record.msg, record.args = own_words(record), ()
        return super().format(record)


def own_words(record: logging.LogRecord) -> str:
    """A library's line with its numbers, and without the texts that it filled in, because those come from servers.

    If the library filled in the texts before logging, as asyncio does, only the first line remains.
    """
    template = str(record.msg)
    if not record.args:
        return template.partition("\n")[0]
    filled = dict_of(record.args) if isinstance(record.args, Mapping) else tuple(map(number_or_mask, record.args))
    try:
        return template % filled
    except (TypeError, ValueError, KeyError):
        return template


def dict_of(arguments: Mapping[str, object]) -> dict[str, object]:
    """Named arguments: numbers as they are, everything else masked."""
    return {name: number_or_mask(value) for name, value in arguments.items()}


def number_or_mask(value: object) -> object:
    """A number as it is, anything else masked."""
    return value if isinstance(value, bool | int | float) else MASK


def outline_exceptions(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by the outline of the exception."""
    asked = event.pop("exc_info", None)
    fault = sys.exc_info()[1] if asked is True else asked[1] if isinstance(asked, tuple) else asked
    if isinstance(fault, BaseException):
        event["exception"] = "".join(outline(fault, set())).rstrip("\n")
    return event


def outline(fault: BaseException, seen: set[int]) -> Iterator[str]:
    """The lines of a traceback: for each exception of the chain, where it was raised and its kind, without its message."""
    if id(fault) in seen or len(seen) >= MOST_EXCEPTIONS:
        return
    seen.add(id(fault))
    before = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    if before is not None and id(before) not in seen:
        yield from outline(before, seen)
        yield "\nwhich led to:\n\n"
    if fault.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(fault.__traceback__)
    yield f"{kind_of(fault)}\n"
    for inner in getattr(fault, "exceptions", ()):
        if isinstance(inner, BaseException):
            yield "one of its parts:\n"
            yield from outline(inner, seen)


def kind_of(fault: BaseException) -> str:
    """The kind of an exception: its class, with the operating system's code or our own `cause`."""
    kind = type(fault)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    number = fault.errno if isinstance(fault, OSError) else None
    code = errno.errorcode.get(number, str(number)) if isinstance(number, int) else getattr(fault, "cause", None)
    return f"{name} ({one_line(code, 60)})" if isinstance(code, str) and code else name


def place_of(fault: BaseException) -> str:
    """Where an exception was raised, such as `messages.py:120`: a cause for log lines without any text of a server."""
    frames = traceback.extract_tb(fault.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else type(fault).__name__


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """In all values of an event, mask every known secret and everything that looks like one, and make each value one line."""
    secrets = frozenset(_secrets)
    words = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, _words))})(?!\w)") if _words else None

    def clean(text: str) -> str:
        masked_text = redact(text, secrets)
        return words.sub(MASK, masked_text) if words else masked_text

    def masked(value: Any) -> Any:
        """An exception becomes its kind. Everything but numbers and containers becomes text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, BaseException):
            return kind_of(value)
        if isinstance(value, dict):
            return {masked(key): masked(one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [masked(one) for one in value]
        return one_line(clean(str(value)[: 10 * LONGEST_VALUE]), LONGEST_VALUE)

    return {
        key: value if key.startswith("_") else visible(clean(value)) if key == "exception" and isinstance(value, str) else masked(value)
        for key, value in event.items()
    }
