"""Limits the waits in Discord's rate limits, because py-cord waits as long as an answer says."""

import json
import math
from typing import Any

import aiohttp
import structlog
from aiohttp.connector import Connection
from typing_extensions import Self

log = structlog.get_logger()

LONGEST_WAIT_S = 60.0
"""The longest wait before a request is tried again, whatever the answer says."""

WAIT_WITHOUT_NUMBER_S = 1.0
"""The wait if the answer has no valid number of seconds."""

TOO_MANY = 429


def bounded_wait_s(told: object) -> float:
    """The seconds to wait if an answer says `told`: at most `LONGEST_WAIT_S`; `WAIT_WITHOUT_NUMBER_S` if it is no valid number."""
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return WAIT_WITHOUT_NUMBER_S
    try:
        wait_s = float(told)
    except (ValueError, OverflowError):
        return WAIT_WITHOUT_NUMBER_S
    return min(wait_s, LONGEST_WAIT_S) if math.isfinite(wait_s) and wait_s >= 0 else WAIT_WITHOUT_NUMBER_S


class BoundedResponse(aiohttp.ClientResponse):
    """An answer whose rate limits, in the headers and the body of a 429, are bounded before py-cord reads them."""

    async def start(self, connection: Connection) -> Self:
        """Read the headers."""
        await super().start(connection)
        if "X-Ratelimit-Remaining" in self._headers:
            headers = self._headers.copy()
            # py-cord uses this header and ignores X-Ratelimit-Reset, which depends on the clock.
            headers["X-Ratelimit-Reset-After"] = str(bounded_wait_s(headers.get("X-Ratelimit-Reset-After")))
            self._headers = type(self._headers)(headers)
        return self

    async def text(self, encoding: str | None = None, errors: str = "strict") -> str:
        """Read the body."""
        text = await super().text(encoding, errors)
        return bounded_body(text) if self.status == TOO_MANY and self.content_type == "application/json" else text


def bounded_body(text: str) -> str:
    """The body of a 429 with a bounded wait. If it is no JSON of the right shape, a body with only the wait."""
    try:
        body: Any = json.loads(text)
    except (ValueError, RecursionError):
        body = None
    found = body if isinstance(body, dict) else {}
    wait_s = bounded_wait_s(found.get("retry_after"))
    if found.get("retry_after") != wait_s:
        log.warning("retry time from discord out of range", wait_s=wait_s)
    return json.dumps({**found, "retry_after": wait_s})
