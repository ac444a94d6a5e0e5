"""The process's one receive thread and one send thread; every connection registers with them.

Receive sleeps in one selector over all sockets, send sleeps until the nearest of all deadlines. Both are threads of their own so that a
stalled event loop delays no packet (measured, loop blocked 45 of 50 ms: p95 of 42 ms through the loop, 0.3 ms through a thread).
"""

import contextlib
import selectors
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import structlog
from typing_extensions import Self

from discordplex.clock import Clock
from discordplex.metrics import Metrics

log = structlog.get_logger()

DATAGRAM_BYTES = 2048
"""Room for one datagram; Discord's stay below an Ethernet frame."""

BATCH_DATAGRAMS = 64
BATCH_S = 0.005
"""How many datagrams of one socket are read, and for how long, before the others get their turn: a flood of one call delays no other."""

WINDOWS_NAP_S = 0.005
"""Waits for a lock have the resolution of the system tick (15.6 ms) on Windows, `time.sleep` is finer but cannot be woken."""


class DatagramReceiver(Protocol):
    """Takes the datagrams of one socket."""

    @property
    def due(self) -> float | None:
        """When `tick` has to be called without a datagram; None for never."""
        ...

    def receive(self, datagram: bytes, now: float) -> None:
        """Take one datagram. Thread: receive."""
        ...

    def tick(self, now: float) -> None:
        """Handle what is due. Thread: receive."""
        ...

    def failed(self, error: Exception) -> None:
        """Called once, after `receive` or `tick` has raised. Thread: receive."""
        ...


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


class MediaThreads:
    """Two threads for all calls, between `__enter__` and `__exit__`. Registering and unregistering is for the loop."""

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._stopping = False
        self._changes: deque[Callable[[], None]] = deque()
        self._listeners: dict[DatagramReceiver, socket.socket] = {}
        self._talkers: tuple[PacedSender, ...] = ()
        self._complained: set[int] = set()
        # A bare lock, released to wake: an Event makes a new one for each wait, 50 times a second, and does so in Python.
        self._nap = threading.Lock()
        self._nap.acquire()
        self._threads = [
            threading.Thread(target=self._run_receive, name="voice-receive", daemon=True),
            threading.Thread(target=self._run_send, name="voice-send", daemon=True),
        ]

    def __enter__(self) -> Self:
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self.wake()
        self._wake_sender()
        for thread in self._threads:
            thread.join()
        for change in self._changes:
            change()
        for sock in (*self._listeners.values(), self._wake_in, self._wake_out):
            sock.close()
        self._selector.close()

    def listen(self, sock: socket.socket, listener: DatagramReceiver) -> None:
        """Read this non-blocking datagram socket from now on. The socket then belongs to this object, which closes it."""
        self._change(lambda: self._guard(listener, self._add_listener, sock, listener))

    def unlisten(self, listener: DatagramReceiver) -> None:
        """Stop reading its socket and close it soon; a datagram that is being handled is handled to its end. Idempotent."""
        self._change(lambda: self._remove_listener(listener))

    def pace(self, talker: PacedSender) -> None:
        """Call it at its deadlines from now on. Idempotent."""
        if talker not in self._talkers:
            self._talkers = (*self._talkers, talker)
            self._wake_sender()

    def unpace(self, talker: PacedSender) -> None:
        """Stop calling it; a call that is under way goes to its end. Idempotent."""
        self._talkers = tuple(other for other in self._talkers if other is not talker)
        self._complained.discard(id(talker))

    def wake(self) -> None:
        """Have every listener's `tick` called now. Thread: any."""
        with contextlib.suppress(BlockingIOError):  # the buffer is full of wakes: one more changes nothing
            self._wake_out.send(b"\x00")

    def _change(self, change: Callable[[], None]) -> None:
        self._changes.append(change)
        self.wake()

    def _add_listener(self, sock: socket.socket, listener: DatagramReceiver) -> None:
        self._listeners[listener] = sock
        self._selector.register(sock, selectors.EVENT_READ, listener)

    def _remove_listener(self, listener: DatagramReceiver) -> None:
        sock = self._listeners.pop(listener, None)
        if sock is not None:
            self._selector.unregister(sock)
            sock.close()
        self._complained.discard(id(listener))

    def _run_receive(self) -> None:
        while not self._stopping:
            ready = self._selector.select(self._seconds_until_due())
            for key, _ in ready:
                if key.data is None:
                    self._take_news()
                elif key.data in self._listeners:
                    self._drain(self._listeners[key.data], key.data)
            self._tick_listeners()

    def _seconds_until_due(self) -> float | None:
        dues = [due for listener in self._listeners if (due := listener.due) is not None]
        return max(0.0, min(dues) - self._clock.now()) if dues else None

    def _take_news(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_in.recv(DATAGRAM_BYTES)
        while self._changes:
            self._changes.popleft()()
        now = self._clock.now()
        for listener in self._listeners:
            self._guard(listener, listener.tick, now)

    def _drain(self, sock: socket.socket, listener: DatagramReceiver) -> None:
        now = self._clock.now()
        until = now + BATCH_S
        for _ in range(BATCH_DATAGRAMS):
            try:
                datagram = sock.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError:  # an ICMP answer to what we sent, or on Windows a datagram longer than the room
                self._metrics.counter("voice.rx.socket_errors").add()
                continue
            self._guard(listener, listener.receive, datagram, now)
            now = self._clock.now()
            if now > until:
                return

    def _tick_listeners(self) -> None:
        now = self._clock.now()
        for listener in self._listeners:
            if (due := listener.due) is not None and due <= now:
                self._guard(listener, listener.tick, now)

    def _run_send(self) -> None:
        while not self._stopping:
            talkers = self._talkers
            wait_s = min(talker.deadline for talker in talkers) - self._clock.now() if talkers else None
            if wait_s is None or wait_s > 0:
                self._pause(wait_s)
                continue
            for talker in talkers:
                now = self._clock.now()
                if talker.deadline <= now:
                    self._guard(talker, talker.tick, now)

    def _pause(self, wait_s: float | None) -> None:
        if sys.platform == "win32" and wait_s is not None:
            time.sleep(min(wait_s, WINDOWS_NAP_S))
            return
        self._nap.acquire(timeout=-1 if wait_s is None else wait_s)

    def _wake_sender(self) -> None:
        with contextlib.suppress(RuntimeError):  # it has been woken already
            self._nap.release()

    def _guard(self, who: DatagramReceiver | PacedSender, work: Callable[..., None], *arguments: object) -> None:
        """Do it and catch whatever it raises: a fault in one call must not silence the others."""
        try:
            work(*arguments)
        except Exception as error:
            self._metrics.counter("voice.faults").add()
            if id(who) not in self._complained:
                self._complained.add(id(who))
                log.exception("voice thread failed", who=type(who).__name__)
                with contextlib.suppress(Exception):  # the thread lives on even where the report fails as well
                    who.failed(error)
