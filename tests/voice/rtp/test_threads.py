"""Two threads for all calls: real sockets, real time, no assertion about speed."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from discordplex.clock import SystemClock
from discordplex.metrics import Metrics
from discordplex.voice.rtp.threads import MediaThreads

PATIENCE_S = 5.0


class Hearer:
    """A listener that keeps what it hears."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.heard: list[bytes] = []
        self.faults: list[Exception] = []
        self.threads: set[str] = set()
        self.due: float | None = None
        self.news = threading.Condition()
        self.ticks = 0
        self._fault = fault

    def receive(self, datagram: bytes, now: float) -> None:
        del now
        self.threads.add(threading.current_thread().name)
        with self.news:
            self.heard.append(datagram)
            self.news.notify_all()
        if self._fault:
            raise self._fault

    def tick(self, now: float) -> None:
        with self.news:
            self.ticks += 1
            if self.due is not None and self.due <= now:
                self.due = None
            self.news.notify_all()

    def failed(self, error: Exception) -> None:
        self.faults.append(error)

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(condition, PATIENCE_S)


class Beater:
    """A talker that counts its turns."""

    def __init__(self, period_s: float, fault: Exception | None = None) -> None:
        self.deadline = SystemClock().now()
        self.turns = 0
        self.faults: list[Exception] = []
        self.news = threading.Condition()
        self._period_s = period_s
        self._fault = fault

    def tick(self, now: float) -> None:
        assert now >= self.deadline
        self.deadline += self._period_s
        with self.news:
            self.turns += 1
            self.news.notify_all()
        if self._fault:
            raise self._fault

    def failed(self, error: Exception) -> None:
        self.faults.append(error)

    def wait_for_turns(self, count: int) -> None:
        with self.news:
            assert self.news.wait_for(lambda: self.turns >= count, PATIENCE_S)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def media_threads(metrics: Metrics, no_stray_threads: None) -> Iterator[MediaThreads]:
    del no_stray_threads
    with MediaThreads(clock=SystemClock(), metrics=metrics) as opened:
        yield opened


@pytest.fixture
def pair() -> Iterator[Callable[[], tuple[socket.socket, socket.socket]]]:
    """Makes a sending socket and the non-blocking one that it is connected to."""
    made: list[socket.socket] = []

    def connected() -> tuple[socket.socket, socket.socket]:
        ours, theirs = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (ours, theirs):
            sock.bind(("127.0.0.1", 0))
        ours.connect(theirs.getsockname())
        theirs.connect(ours.getsockname())
        ours.setblocking(False)
        made.extend((ours, theirs))
        return theirs, ours

    yield connected
    for sock in made:
        sock.close()


Pair = Callable[[], tuple[socket.socket, socket.socket]]


def test_each_socket_is_heard_by_its_own_listener(media_threads: MediaThreads, pair: Pair) -> None:
    """Two calls share the thread and nothing else."""
    (far_a, near_a), (far_b, near_b) = pair(), pair()
    ear_a, ear_b = Hearer(), Hearer()
    media_threads.listen(near_a, ear_a)
    media_threads.listen(near_b, ear_b)
    far_a.send(b"for a")
    far_b.send(b"for b")
    ear_a.wait(lambda: ear_a.heard == [b"for a"])
    ear_b.wait(lambda: ear_b.heard == [b"for b"])
    assert ear_a.threads == ear_b.threads == {"voice-receive"}


def test_a_fault_in_one_call_silences_no_other(media_threads: MediaThreads, pair: Pair, metrics: Metrics) -> None:
    """A listener that raises is counted each time and told once, and the other goes on hearing."""
    (far_a, near_a), (far_b, near_b) = pair(), pair()
    broken, whole = Hearer(ValueError("broken")), Hearer()
    media_threads.listen(near_a, broken)
    media_threads.listen(near_b, whole)
    for _ in range(3):
        far_a.send(b"x")
    broken.wait(lambda: len(broken.heard) == 3)
    far_b.send(b"y")
    whole.wait(lambda: whole.heard == [b"y"])
    assert [str(fault) for fault in broken.faults] == ["broken"]
    assert metrics.counter("voice.faults").value == 3


def test_a_socket_is_closed_by_the_wire(media_threads: MediaThreads, pair: Pair) -> None:
    """After `unlisten` the wire closes the socket itself, so that no thread reads a number that belongs to somebody else by now."""
    (_, near), (far, other_near) = pair(), pair()
    gone, other = Hearer(), Hearer()
    media_threads.listen(near, gone)
    media_threads.listen(other_near, other)
    media_threads.unlisten(gone)
    media_threads.unlisten(gone)
    far.send(b"after")
    other.wait(lambda: other.heard == [b"after"])
    assert near.fileno() == -1


def test_leaving_the_wire_closes_what_is_left(metrics: Metrics, pair: Pair) -> None:
    """Sockets that nobody took back, even one whose registration nobody has seen yet, end with the wire."""
    _, near = pair()
    with MediaThreads(clock=SystemClock(), metrics=metrics) as media_threads:
        media_threads.listen(near, Hearer())
    assert near.fileno() == -1


def test_a_due_listener_is_called_without_a_datagram(media_threads: MediaThreads, pair: Pair) -> None:
    """What waits for time is decided although nothing arrives, and `wake` has everybody looked at."""
    _, near = pair()
    ear = Hearer()
    ear.due = SystemClock().now() + 0.01
    media_threads.listen(near, ear)
    ear.wait(lambda: ear.due is None)
    before = ear.ticks
    media_threads.wake()
    ear.wait(lambda: ear.ticks > before)


def test_a_network_error_is_not_the_end(media_threads: MediaThreads, metrics: Metrics) -> None:
    """An ICMP answer (nobody listens there) is counted, and the socket is still heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vanished:
        vanished.bind(("127.0.0.1", 0))
        address = vanished.getsockname()
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    near.connect(address)
    near.setblocking(False)
    ear = Hearer()
    media_threads.listen(near, ear)
    near.send(b"anybody?")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as returned:
        returned.bind(address)
        returned.sendto(b"here", near.getsockname())
        ear.wait(lambda: ear.heard == [b"here"])
    assert metrics.counter("voice.faults").value == 0


def test_talkers_are_called_at_their_deadlines(media_threads: MediaThreads) -> None:
    """Each at its own period, never early, and no more after `unpace`."""
    quick, slow = Beater(0.002), Beater(0.05)
    media_threads.pace(quick)
    media_threads.pace(quick)
    media_threads.pace(slow)
    quick.wait_for_turns(20)
    slow.wait_for_turns(2)
    media_threads.unpace(quick)
    media_threads.unpace(quick)
    slow.wait_for_turns(3)
    turns = quick.turns
    slow.wait_for_turns(4)
    assert quick.turns == turns


def test_a_fault_of_one_talker_stops_no_other(media_threads: MediaThreads, metrics: Metrics) -> None:
    """It is told once, counted each time, and its turns go on like everybody else's."""
    broken, whole = Beater(0.002, ValueError("broken")), Beater(0.002)
    media_threads.pace(broken)
    media_threads.pace(whole)
    broken.wait_for_turns(3)
    whole.wait_for_turns(3)
    assert len(broken.faults) == 1
    assert metrics.counter("voice.faults").value >= 2


async def test_a_flood_of_wakes_blocks_nobody(media_threads: MediaThreads) -> None:
    """The wake-up socket may be full: then it is awake already."""
    for _ in range(10_000):
        media_threads.wake()
    await asyncio.sleep(0)
