"""Bounds for the rate limits that Discord's answers tell: py-cord waits as long as they say, whatever that is."""

import json
import math
from typing import Any

import aiohttp
import structlog
from aiohttp.connector import Connection
from typing_extensions import Self

log = structlog.get_logger()

LONGEST_WAIT_S = 60.0
"""Nobody is made to wait longer before a request is tried again, whatever Discord, or what answers in its place, says."""

WAIT_WITHOUT_NUMBER_S = 1.0
"""The wait where none is told, or something that is no number of seconds."""

TOO_MANY = 429


def bounded_wait_s(told: object) -> float:
    """Seconds to wait where an answer tells `told`: at most `LONGEST_WAIT_S`, and `WAIT_WITHOUT_NUMBER_S` for what is no such number."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return WAIT_WITHOUT_NUMBER_S
    try:
        wait_s = float(told)
    except (ValueError, OverflowError):
        return WAIT_WITHOUT_NUMBER_S
    return min(wait_s, LONGEST_WAIT_S) if math.isfinite(wait_s) and wait_s >= 0 else WAIT_WITHOUT_NUMBER_S


class BoundedResponse(aiohttp.ClientResponse):
    """An answer whose rate limits are bounded before py-cord reads them, in the headers and in the body of a 429."""

    async def start(self, connection: Connection) -> Self:
        """Read the headers."""
        await super().start(connection)
        if "X-Ratelimit-Remaining" in self._headers:
            headers = self._headers.copy()
            # py-cord takes this one and leaves the clock's, X-Ratelimit-Reset, alone.
            headers["X-Ratelimit-Reset-After"] = str(bounded_wait_s(headers.get("X-Ratelimit-Reset-After")))
            self._headers = type(self._headers)(headers)
        return self

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Read the body."""
        text = await super().text(encoding, errors)
        return bounded_body(text) if self.status == TOO_MANY and self.content_type == "application/json" else text


def bounded_body(text: str) -> str:
    """The body of a 429 with a wait that is bounded; JSON of another shape, or none, is one with the wait alone."""
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    found = body if isinstance(body, dict) else {}
    wait_s = bounded_wait_s(found.get("retry_after"))
    if found.get("retry_after") != wait_s:
        log.warning("retry time from discord out of range", wait_s=wait_s)
    return json.dumps({**found, "retry_after": wait_s})
