"""What waits to be sent to one client: each block at its time, none before another."""

import asyncio
from collections.abc import Callable

from aiohttp import web

from discordplex.clock import Clock
from discordplex.personaplex.protocol import Kind


class DelayedMessages:
    """Messages in the order they were put, each held back until it is due. It has no bound: the real server sheds nothing."""

    def __init__(self, websocket: web.WebSocketResponse, clock: Clock, on_sent: Callable[[Kind, bytes], None]) -> None:
        self._socket = websocket
        self._clock = clock
        self._on_sent = on_sent
        self._waiting: asyncio.Queue[tuple[float, list[bytes | str]]] = asyncio.Queue()

    def put(self, *messages: bytes | str, delay_s: float = 0.0) -> None:
        """Send these together, `delay_s` from now; what follows waits for them. A string goes out as a WebSocket text message."""
        self._waiting.put_nowait((self._clock.now() + delay_s, list(messages)))

    async def run(self) -> None:
        """Send for ever."""
        while True:
            due, messages = await self._waiting.get()
            await self._clock.sleep_until(due)
            for message in messages:
                await self._send(message)

    async def _send(self, message: bytes | str) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
            return
        if message[:1] in (bytes((Kind.TEXT,)), bytes((Kind.AUDIO,))):
            # Written down first: a client may answer before this task runs again.
            self._on_sent(Kind(message[0]), message[1:])
        await self._socket.send_bytes(message)
