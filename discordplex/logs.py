"""Where log lines go and what may stand in them.

Every module says `structlog.get_logger()`; the libraries' own `logging` (py-cord, websockets, aiohttp, asyncio) runs through the same chain
from warnings on. Lines go to stderr: for people on a terminal, one JSON object each anywhere else.
"""

import importlib.util
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, TextIO, TypeAlias

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from discordplex.redact import redact

LogFormat: TypeAlias = Literal["rich", "json"]
LEVELS = ("debug", "info", "warning", "error")

SHORTEST_SECRET = 6
"""A shorter secret is not searched for in log lines: it would mask parts of ordinary words."""

_secrets: set[str] = set()


def keep_secret(secret: SecretStr | None) -> None:
    """From now on mask this value wherever it turns up in a log line."""
    value = secret.get_secret_value() if secret else ""
    if len(value) >= SHORTEST_SECRET:
        _secrets.add(value)


def set_up(log_format: LogFormat | None = None, level: str = "info", stream: TextIO | None = None) -> None:
    """Send everything to `stream` (stderr) as `log_format`; without one a terminal gets lines for people, anything else JSON."""
    stream = stream or sys.stderr
    people = log_format == "rich" or (log_format is None and stream.isatty())
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if people else "iso", utc=not people),
        structlog.processors.format_exc_info,
        mask,
    ]
    renderer: Processor = for_people(stream) if people else structlog.processors.JSONRenderer(ensure_ascii=False)
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        # A test that captures log lines must reach loggers that were used before.
        cache_logger_on_first_use=False,
    )
    route_logging(chain, renderer, stream)


def route_logging(chain: list[Processor], renderer: Processor, stream: TextIO) -> None:
    """Warnings of the libraries, through the same chain. Never below: py-cord's debug lines hold session keys."""
    handler = logging.StreamHandler(stream)
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[name_logger, *chain], processors=processors))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, structlog.stdlib.ProcessorFormatter):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)


def for_people(stream: TextIO) -> Processor:
    """Aligned lines, coloured where the terminal can and NO_COLOR does not forbid it; tracebacks without the values of variables."""
    return structlog.dev.ConsoleRenderer(colors=coloured(stream, os.environ), exception_formatter=structlog.dev.plain_traceback)


def coloured(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether colours are wanted (https://no-color.org) and can be shown; on Windows structlog needs colorama for them."""
    if not stream.isatty() or environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    return sys.platform != "win32" or importlib.util.find_spec("colorama") is not None


def name_logger(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which library speaks."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["library"] = record.name
    return event


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask every known secret and everything that looks like a token in all the values of an event."""
    secrets = frozenset(_secrets)
    return {key: value if key.startswith("_") else masked(value, secrets) for key, value in event.items()}


def masked(value: Any, secrets: frozenset[str]) -> Any:
    """The value with its texts masked; what is neither number, text nor container becomes text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {masked(key, secrets): masked(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [masked(one, secrets) for one in value]
    return redact(str(value), secrets)
