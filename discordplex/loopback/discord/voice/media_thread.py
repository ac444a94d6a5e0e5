"""MediaThread: one thread with its own event loop, for all datagrams of the loopback.

The bot under test may share the process, and its loop may be busy. If the relay and the people ran on that loop, their lateness would be
counted as the bot's; here they wait for nothing but the interpreter's lock.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from discordplex.errors import LocalProtocolError
from discordplex.network import check_room_for_loop
from discordplex.tasks import cancel_and_wait

Result = TypeVar("Result")


class MediaThread:
    """An event loop in a daemon thread. Opened and closed by the loop that owns it; `run` and `post` cross over to it."""

    def __init__(self, name: str = "loopback-media") -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The thread's loop. Raises LocalProtocolError while it does not run."""
        if self._loop is None:
            raise LocalProtocolError("the media thread does not run")
        return self._loop

    async def __aenter__(self) -> Self:
        check_room_for_loop()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._turn, args=(self._loop,), name=self._name, daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)

    async def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the media loop and wait for it here; cancelling the wait cancels the work."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Call something on the media loop soon. Thread: any."""
        self.loop.call_soon_threadsafe(call, *arguments)

    @staticmethod
    def _turn(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(_settle())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


async def _settle() -> None:
    """End what is left, and let transports finish closing."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await cancel_and_wait(*others)
    await asyncio.sleep(0)
