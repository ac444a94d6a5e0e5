"""LiveFeed: the bot's state as server-sent events, twice a second, while somebody watches.

Each state is made once for all viewers. A viewer gets the newest state or none: nothing is queued, and one that does not read is dropped.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web

from discordplex.clock import Clock
from discordplex.monitoring.http import HEADERS, plain
from discordplex.tasks import wait_for

TICK_S = 0.5

MOST_VIEWERS = 16

SLOW_S = 5.0
"""How long a viewer may take to read one state."""


class LiveFeed:
    """`run` it; `serve` answers one viewer. Thread: loop."""

    def __init__(self, make: Callable[[], bytes], clock: Clock) -> None:
        """`make` gives the state, without line ends. It is called only while somebody watches."""
        self.viewers = 0
        self._make = make
        self._clock = clock
        self._next: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._watched = asyncio.Event()

    async def run(self) -> None:
        """Make states until cancelled."""
        while True:
            await self._watched.wait()
            message, self._next = self._next, asyncio.get_running_loop().create_future()
            message.set_result(b"data: " + self._make() + b"\n\n")
            await self._clock.sleep_until(self._clock.now() + TICK_S)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send states until the viewer leaves or is too slow."""
        if self.viewers >= MOST_VIEWERS:
            return plain("Too many browsers have this page open.", HTTPStatus.SERVICE_UNAVAILABLE, {"Retry-After": "5"})
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        response.force_close()
        transport = request.transport
        if isinstance(transport, asyncio.Transport):
            transport.pause_reading()  # more requests would pile up behind this one, which never ends
        self._enter()
        try:
            while True:
                message = await asyncio.shield(self._next)
                await wait_for(response.write(message), SLOW_S)
        except asyncio.TimeoutError:
            if transport is not None:
                transport.abort()
        except ConnectionError:
            pass
        finally:
            self._leave()
        return response

    def _enter(self) -> None:
        self.viewers += 1
        self._watched.set()

    def _leave(self) -> None:
        self.viewers -= 1
        if not self.viewers:
            self._watched.clear()
