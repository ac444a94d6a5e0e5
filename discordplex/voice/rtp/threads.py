"""The process's one send thread; every connection registers with it.

It sleeps until the nearest of all deadlines. It is no part of the loop, so that a stalled event loop delays no packet (measured, loop
blocked 45 of 50 ms: p95 of 42 ms through the loop, 0.3 ms through a thread).
"""

import contextlib
import sys
import threading
import time
from typing import Protocol

import structlog
from typing_extensions import Self

from discordplex.clock import Clock
from discordplex.metrics import Metrics

log = structlog.get_logger()

WINDOWS_NAP_S = 0.005
"""Waits for a lock have the resolution of the system tick (15.6 ms) on Windows, `time.sleep` is finer but cannot be woken."""


class PacedSender(Protocol):
    """Sends at deadlines."""

    @property
    def deadline(self) -> float:
        """When `tick` is to be called next."""
        ...

    def tick(self, now: float) -> None:
        """Move `deadline` on, then send what was due. Thread: send."""
        ...

    def failed(self, error: Exception) -> None:
        """Called once, after `tick` has raised. Thread: send."""
        ...


class SendThread:
    """One thread for all calls, between `__enter__` and `__exit__`. Registering and unregistering is for the loop."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._stopping = False
        self._talkers: tuple[PacedSender, ...] = ()
        self._complained: set[int] = set()
        # A bare lock, released to wake: an Event makes a new one for each wait, 50 times a second, and does so in Python.
        self._nap = threading.Lock()
        self._nap.acquire()
        self._thread = threading.Thread(target=self._run, name="voice-send", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()

    def pace(self, talker: PacedSender) -> None:
        """Call it at its deadlines from now on. Idempotent."""
        if talker not in self._talkers:
            self._talkers = (*self._talkers, talker)
            self._wake()

    def unpace(self, talker: PacedSender) -> None:
        """Stop calling it; a call that is under way goes to its end. Idempotent."""
        self._talkers = tuple(other for other in self._talkers if other is not talker)
        self._complained.discard(id(talker))

    def _run(self) -> None:
        while not self._stopping:
            nearest: float | None = None
            for talker in self._talkers:
                if (now := self._clock.now()) >= talker.deadline:
                    self._tick(talker, now)
                nearest = talker.deadline if nearest is None else min(nearest, talker.deadline)
            wait_s = None if nearest is None else nearest - self._clock.now()
            if wait_s is None or wait_s > 0:
                self._pause(wait_s)

    def _pause(self, wait_s: float | None) -> None:
        if sys.platform == "win32" and wait_s is not None:
            time.sleep(min(wait_s, WINDOWS_NAP_S))
            return
        self._nap.acquire(timeout=-1 if wait_s is None else wait_s)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has been woken already
            self._nap.release()

    def _tick(self, talker: PacedSender, now: float) -> None:
        """Let it send and catch whatever it raises: a fault in one call must not silence the others."""
        try:
            talker.tick(now)
        except Exception as error:
            self._metrics.counter("voice.faults").add()
            if id(talker) not in self._complained:
                self._complained.add(id(talker))
                log.exception("voice thread failed", who=type(talker).__name__)
                with contextlib.suppress(Exception):  # the thread lives on even where the report fails as well
                    talker.failed(error)
