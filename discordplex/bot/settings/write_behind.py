"""WriteBehind: saves changes in the background. They already apply in memory."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeAlias, TypeVar

import structlog

from discordplex.clock import Clock
from discordplex.errors import StoreError
from discordplex.retry import Backoff
from discordplex.store.records import Owner, SaveStatus

log = structlog.get_logger()

MOST_WAITING = 10_000
"""The most changes that wait in each queue. Further ones are refused with a sentence."""

MOST_BYTES = 50_000_000
"""The most text of ordinary changes that wait, about."""

CHANGE_BYTES = 10_000
"""The size that a change counts as if it does not say: the longest role that a command accepts."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0
"""The pause between tries doubles from the first to the longest while the database cannot be reached."""

LAST_WRITES_S = 1.0
"""How long the process waits for the last changes when it ends."""


T = TypeVar("T")
Write: TypeAlias = Callable[[], Awaitable[bool]]
"""Saves a change; returns whether deleted data is gone from the database's files. Raises StoreError."""


EVERYTHING = "everything"
"""The `what` of a deletion of everything about somebody."""


class Key(NamedTuple):
    """The subject of a change. A later change with the same key replaces one that still waits."""

    what: str
    subject: Owner


class PendingResult(Generic[T]):
    """The result of a change. It need not be awaited, and cancelling an await does not cancel the change."""

    def __init__(self, future: asyncio.Future[SaveStatus], then: Callable[[SaveStatus], T]) -> None:
        self._future = future
        self._then = then

    def __await__(self) -> Generator[None, None, T]:
        return self._then((yield from asyncio.shield(self._future).__await__()))


@dataclass(eq=False, slots=True)
class PendingWrite:
    """A change that waits."""

    write: Write
    bytes: int
    asked: list[asyncio.Future[SaveStatus]] = field(default_factory=list)

    def answer(self, save_status: SaveStatus) -> None:
        """Give the result to everybody who awaits it."""
        for one in self.asked:
            if not one.done():
                one.set_result(save_status)
        self.asked.clear()

    def refuse(self, fault: Exception) -> None:
        """Tell everybody who awaits it that it can never be saved."""
        for one in self.asked:
            if not one.done():
                one.set_exception(fault)
                one.exception()  # mark it as retrieved: awaiting the result is optional
        self.asked.clear()


class WriteBehind:
    """Saves changes in two queues, so that those about privacy never wait for the others. All methods: the event loop's thread."""

    def __init__(self, clock: Clock, recover: Callable[[], Awaitable[None]]) -> None:
        """`recover` opens the database again after a failure. It is called before each new try, and raises StoreError if it fails."""
        self._clock = clock
        self._recover = recover
        self.trouble: str | None = None
        """Why the last try failed, as a sentence for people; None if it succeeded."""
        self._urgent = WriteQueue(self)
        self._ordinary = WriteQueue(self)

    def __len__(self) -> int:
        """How many changes wait."""
        return len(self._urgent.waiting) + len(self._ordinary.waiting)

    def put(
        self, key: Key, write: Write, then: Callable[[SaveStatus], T], *, urgent: bool = False, size: int = CHANGE_BYTES
    ) -> Awaitable[T]:
        """Save a change, even if nobody awaits the result. The result is what `then` makes of the `SaveStatus`.

        It is known after the first try, and at once while the database cannot be reached. Awaiting it raises StoreError if the database
        will never accept the change. This method raises StoreError if too many changes wait.
        """
        return PendingResult((self._urgent if urgent else self._ordinary).put(key, write, 0 if urgent else size), then)

    def drop(self, subject: Owner) -> None:
        """Drop the waiting ordinary changes of somebody, because their data is being deleted."""
        for key in [key for key in self._ordinary.waiting if key.subject == subject]:
            self._ordinary.waiting.pop(key).answer(SaveStatus(saved=False, why="It was deleted."))

    def holds(self, what: str, subject: Owner) -> bool:
        """Whether such a change waits, or is being saved."""
        key = Key(what, subject)
        return key in self._urgent.waiting or key in self._ordinary.waiting

    async def close(self) -> None:
        """Try to save what waits, for a moment."""
        await asyncio.gather(self._urgent.close(), self._ordinary.close())
        if len(self):
            log.error("changes not saved", changes=len(self))

    async def before(self, key: Key) -> None:
        """Wait until this change may be saved: a deletion waits for a running write about the same subject."""
        while key.what == EVERYTHING and self._ordinary.busy_with == key.subject:
            await self._ordinary.step()

    def may_go(self, lane: "WriteQueue", key: Key) -> bool:
        """Whether no deletion of the same subject must be done first."""
        return lane is self._urgent or Key(EVERYTHING, key.subject) not in self._urgent.waiting

    def tell(self, trouble: str) -> None:
        """Tell everybody who waits that the database cannot be reached."""
        self.trouble = trouble
        for lane in (self._urgent, self._ordinary):
            for entry in lane.waiting.values():
                entry.answer(SaveStatus(saved=False, why=trouble))

    async def urgent_step(self) -> None:
        """Wait until one urgent change was tried."""
        await self._urgent.step()

    async def recover(self) -> None:
        """Open the database again. Raises StoreError."""
        await self._recover()

    async def pause(self, seconds: float) -> None:
        """Pause before the next try."""
        await self._clock.sleep_until(self._clock.now() + seconds)


class WriteQueue:
    """Changes that are saved one after the other, in their order."""

    def __init__(self, parent: WriteBehind) -> None:
        self.waiting: dict[Key, PendingWrite] = {}
        self.busy_with: Owner | None = None
        self._parent = parent
        self._task: asyncio.Task[None] | None = None
        self._stepped = asyncio.Event()

    def put(self, key: Key, write: Write, size: int) -> asyncio.Future[SaveStatus]:
        """Add a change, or replace one with the same key."""
        earlier = self.waiting.get(key)
        others = sum(entry.bytes for entry in self.waiting.values() if entry is not earlier) if size else 0
        if (earlier is None and len(self.waiting) >= MOST_WAITING) or others + size > MOST_BYTES:
            raise StoreError("The change was not saved: the database is away, and too many changes wait for it already.")
        answer: asyncio.Future[SaveStatus] = asyncio.get_running_loop().create_future()
        entry = PendingWrite(write, size, [*(earlier.asked if earlier else ()), answer])
        self.waiting[key] = entry
        if self._parent.trouble is not None:
            entry.answer(SaveStatus(saved=False, why=self._parent.trouble))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="bot:write-behind")
        return answer

    async def step(self) -> None:
        """Wait until one change was tried."""
        self._stepped.clear()
        await self._stepped.wait()

    async def close(self) -> None:
        """Try the last changes once more."""
        if self._task is None or self._task.done():
            return
        if self._parent.trouble is not None:  # it is pausing between two tries
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = asyncio.create_task(self._drain(), name="bot:write-behind")
        await asyncio.wait({self._task}, timeout=LAST_WRITES_S)
        self._task.cancel()
        await asyncio.wait({self._task})
        for entry in self.waiting.values():
            entry.answer(SaveStatus(saved=False, why="The bot is stopping."))

    async def _drain(self) -> None:
        backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        while self.waiting:
            key = next((key for key in self.waiting if self._parent.may_go(self, key)), None)
            if key is None:
                await self._parent.urgent_step()
                continue
            await self._parent.before(key)
            try:
                if self._parent.trouble is not None:
                    await self._parent.recover()
                await self._save(key)
            except StoreError as fault:
                self._parent.tell(fault.why)
                pause_s = backoff.failed()
                log.warning("changes not saved yet", changes=len(self.waiting), retry_in_s=pause_s)
                await self._parent.pause(pause_s)
            else:
                self._parent.trouble = None
                backoff.reset()

    async def _save(self, key: Key) -> None:
        """Try one change. Raises StoreError if the database cannot be reached; then the change waits behind the others."""
        entry = self.waiting.get(key)
        if entry is None:
            return
        self.busy_with = key.subject
        try:
            clean = await entry.write()
        except Exception as fault:
            if self.waiting.get(key) is entry:
                del self.waiting[key]
                if isinstance(fault, StoreError) and fault.retry:
                    self.waiting[key] = entry  # at the end
            if isinstance(fault, StoreError) and fault.retry:
                raise
            log.warning("change refused by the database", what=key.what, cause=type(fault).__name__)
            entry.refuse(fault)
        else:
            if self.waiting.get(key) is entry:
                del self.waiting[key]
            entry.answer(SaveStatus(saved=True, clean=clean))
        finally:
            self.busy_with = None
            self._stepped.set()
