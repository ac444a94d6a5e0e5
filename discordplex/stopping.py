"""Stop: SIGINT, SIGTERM and SIGHUP set a flag, from the first moment of the process to its last; running code checks the flag.

A handler never raises: Python runs it between any two instructions, even where exceptions are discarded (a destructor, a callback of the
import system), and then the signal would be lost. This module is imported first, so it imports nothing slow.
"""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""The signals that ask a process to end. SIGHUP comes when the terminal is closed; SIGBREAK is Ctrl-Break on Windows, where nobody can
send SIGTERM."""


class Stop:
    """Whether this process was asked to end. Thread: main."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal that came; None before."""
        self._actions: list[Callable[[], object]] = []

    @contextlib.contextmanager
    def watching(self, *, until_exit: bool = False) -> Iterator[None]:
        """Make the signals set the flag. After the first one, SIGINT interrupts at once, and another SIGTERM has no effect.

        At the end the former handlers are restored. With `until_exit`, if a signal came, signals are ignored from then on: the exit code is
        known, and another signal while the interpreter shuts down must not change it.
        """
        before = {number: signal.signal(number, self._asked) for number in SIGNALS if not is_for_others(number)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if until_exit and self.signal is not None else handler)

    def _asked(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for action in self._actions:
            action()

    def check(self) -> None:
        """Raise KeyboardInterrupt if the process was asked to end."""
        if self.signal is not None:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def calling(self, action: Callable[[], object]) -> Iterator[None]:
        """Call `action` when the process is asked to end, or at once if it was asked before.

        It may be called twice, and inside a signal handler, so it must only wake something.
        """
        self._actions.append(action)
        try:
            if self.signal is not None:
                action()
            yield
        finally:
            self._actions.remove(action)

    @contextlib.contextmanager
    def event(self) -> "Iterator[asyncio.Event]":
        """An event of the running loop that is set when the process is asked to end, or at once if it was asked before."""
        import asyncio  # noqa: PLC0415 -- takes 30 ms, in which a signal would still end the process with a failure

        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        with self.calling(lambda: loop.call_soon_threadsafe(asked.set)):
            yield asked

    @contextlib.contextmanager
    def importing(self) -> Iterator[None]:
        """Check the flag before each import of a `discordplex` module inside, and at the end, because imports can take seconds.

        Other imports are not checked: some libraries import from compiled code, which aborts if an import fails.

        Raises KeyboardInterrupt. If a module suppresses it, the next import raises it again.
        """
        finder = Checkpoint(self)
        sys.meta_path.insert(0, finder)
        try:
            self.check()
            yield
            self.check()
        finally:
            sys.meta_path.remove(finder)


def is_for_others(number: int) -> bool:
    """Whether a signal is to be ignored: `nohup` starts a process that outlives its terminal."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


class Checkpoint:
    """An import finder that finds nothing, and checks the flag at each import."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:  # noqa: ARG002 -- what sys.meta_path calls
        """Raise KeyboardInterrupt if the process was asked to end."""
        if fullname.startswith("discordplex."):
            self._stop.check()
