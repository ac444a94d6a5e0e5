"""CancellableWork: work on people's words that somebody who opts out, or `/stop`, ends from outside."""

import asyncio
from types import TracebackType

import anyio
from typing_extensions import Self


class CancellableWork:
    """Work on people's words that can be cancelled from outside. Use it once, as the `with` block around the work."""

    def __init__(self, sources: frozenset[int]) -> None:
        """`sources` are the people whose sound or words the work carries."""
        self.sources = sources
        self._scope = anyio.CancelScope()
        self._ended = asyncio.Event()

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        self._ended.set()
        return self._scope.__exit__(kind, error, trace)

    @property
    def cancelled(self) -> bool:
        """Whether the result is no longer wanted, even where it has just come."""
        return self._scope.cancel_called

    def cancel(self) -> None:
        """Cancel the work at the loop's next step; a second call does nothing."""
        self._scope.cancel()

    async def ended(self) -> None:
        """Return once the work has ended."""
        await self._ended.wait()
