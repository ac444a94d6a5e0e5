"""Collects what the main gateway says about our place in a voice channel, until it suffices to open a voice session."""

import asyncio
from dataclasses import dataclass, field

from discordplex.tasks import wait_for


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """The voice server's address, and what it requires to identify us."""

    number: int
    session_id: str = field(repr=False)
    token: str = field(repr=False)
    endpoint: str


class ConnectionInfoCollector:
    """Collects voice state and voice server; they come in any order. For the loop only."""

    def __init__(self) -> None:
        self.in_channel = False
        self.removed = False
        self._session_id: str | None = None
        self._token: str | None = None
        self._endpoint: str | None = None
        self._number = 0
        self._absence_expected = False
        self._news = asyncio.Event()

    @property
    def current(self) -> ConnectionInfo | None:
        """The newest complete connection info, None while something is missing."""
        if self._session_id is None or self._token is None or self._endpoint is None:
            return None
        return ConnectionInfo(self._number, self._session_id, self._token, self._endpoint)

    def expect_reentry(self) -> None:
        """We leave and join again: forget what is known, and expect one empty voice state that is our own."""
        self._session_id = self._token = self._endpoint = None
        self._absence_expected = self.in_channel

    def entered(self, session_id: str) -> None:
        """Our voice state names a channel."""
        self.in_channel = True
        self.removed = self._absence_expected = False
        self._session_id = session_id
        self._news.set()

    def left(self) -> bool:
        """Our voice state is empty. Returns whether somebody else caused it."""
        self.in_channel = False
        if self._absence_expected:
            self._absence_expected = False
            return False
        self.removed = True
        self._news.set()
        return True

    def served(self, token: str, endpoint: str | None) -> bool:
        """Discord names our voice server; `endpoint` is None if it is gone. Returns whether there is a new complete connection info."""
        if (token, endpoint) == (self._token, self._endpoint):
            return False
        self._token, self._endpoint = token, endpoint
        if endpoint is not None:
            self._number += 1
        self._news.set()
        return self.current is not None

    async def next_after(self, number: int, *, timeout_s: float | None) -> ConnectionInfo | None:
        """The first complete connection info that is newer; None when the time (None: any) is over or somebody removed us."""
        try:
            return await wait_for(self._next_after(number), timeout_s)
        except asyncio.TimeoutError:
            return None

    async def _next_after(self, number: int) -> ConnectionInfo | None:
        while not self.removed:
            if self.current is not None and self.current.number > number:
                return self.current
            self._news.clear()
            await self._news.wait()
        return None
