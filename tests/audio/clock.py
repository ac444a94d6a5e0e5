"""The clock of this room's tests."""

from collections.abc import Callable
from typing import NoReturn


class SetClock:
    """A clock that the test sets; nobody sleeps on it."""

    def __init__(self) -> None:
        self.time = 50.0

    def now(self) -> float:
        return self.time

    async def sleep_until(self, deadline: float) -> None:
        raise NotImplementedError

    def call_at(self, deadline: float, callback: Callable[[], None]) -> NoReturn:
        raise NotImplementedError
