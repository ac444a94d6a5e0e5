"""Datagrams on the loop: real sockets, no assertion about speed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from discordplex.clock import Clock, SystemClock
from discordplex.loopback.clock import FakeClock, settle
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from discordplex.voice.rtp.socket import DatagramReader

PATIENCE_S = 5.0


class Hearer:
    """A receiver that keeps what it hears."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.heard: list[bytes] = []
        self.faults: list[Exception] = []
        self.due: float | None = None
        self.ticks: list[float] = []
        self._fault = fault
        self._changes = Changes()

    def receive(self, datagram: bytes, now: float) -> None:
        del now
        self.heard.append(datagram)
        self._changes.tell()
        if self._fault:
            raise self._fault

    def tick(self, now: float) -> None:
        self.ticks.append(now)
        self.due = None

    def failed(self, error: Exception) -> None:
        self.faults.append(error)

    async def until(self, condition: Callable[[], bool]) -> None:
        await self._changes.until(condition, PATIENCE_S)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


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
Read = Callable[..., Awaitable[None]]


@pytest.fixture
async def read(metrics: Metrics) -> AsyncIterator[Read]:
    """Has a socket read for a receiver, until the end of the test."""
    transports: list[asyncio.DatagramTransport] = []

    async def begin(sock: socket.socket, receiver: Hearer, clock: Clock | None = None) -> None:
        reader = DatagramReader(receiver, clock=clock or SystemClock(), metrics=metrics)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: reader, sock=sock)
        transports.append(transport)

    yield begin
    for transport in transports:
        transport.close()
    await asyncio.sleep(0)


async def test_each_socket_is_heard_by_its_own_receiver(read: Read, pair: Pair) -> None:
    """Two calls share the loop and nothing else."""
    (far_a, near_a), (far_b, near_b) = pair(), pair()
    ear_a, ear_b = Hearer(), Hearer()
    await read(near_a, ear_a)
    await read(near_b, ear_b)
    far_a.send(b"for a")
    far_b.send(b"for b")
    await ear_a.until(lambda: ear_a.heard == [b"for a"])
    await ear_b.until(lambda: ear_b.heard == [b"for b"])


async def test_a_fault_makes_no_call_deaf(read: Read, pair: Pair, metrics: Metrics) -> None:
    """A receiver that raises is counted each time and told once; it and the others go on hearing."""
    (far_a, near_a), (far_b, near_b) = pair(), pair()
    broken, whole = Hearer(ValueError("broken")), Hearer()
    await read(near_a, broken)
    await read(near_b, whole)
    for _ in range(3):
        far_a.send(b"x")
    await broken.until(lambda: len(broken.heard) == 3)
    far_b.send(b"y")
    await whole.until(lambda: whole.heard == [b"y"])
    assert [str(fault) for fault in broken.faults] == ["broken"]
    assert metrics.counter("voice.faults").value == 3


async def test_a_flooded_call_leaves_the_others_their_turn(read: Read, pair: Pair) -> None:
    """Of a socket that is never empty one datagram is read, and then it is the next one's turn."""
    (far_a, near_a), (far_b, near_b) = pair(), pair()
    flooded, calm = Hearer(), Hearer()
    for _ in range(64):
        far_a.send(b"x")
    far_b.send(b"y")
    await read(near_a, flooded)
    await read(near_b, calm)
    await calm.until(lambda: bool(calm.heard))
    assert len(flooded.heard) < 10
    await flooded.until(lambda: len(flooded.heard) == 64)


async def test_a_due_receiver_is_called_without_a_datagram(read: Read, pair: Pair) -> None:
    """What waits for time is decided although nothing more arrives, each time once."""
    far, near = pair()
    clock, ear = FakeClock(), Hearer()
    await read(near, ear, clock)
    for number in range(2):
        ear.due = due = clock.now() + 0.06
        far.send(b"behind a gap")
        await ear.until(lambda: len(ear.heard) > len(ear.ticks))
        await clock.advance(0.05)
        assert len(ear.ticks) == number
        await clock.advance(0.02)
        assert ear.ticks[-1] == due
    assert len(ear.ticks) == 2


async def test_a_network_error_is_not_the_end(read: Read, metrics: Metrics) -> None:
    """An ICMP answer (nobody listens there) is counted, and the socket is still heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as vanished:
        vanished.bind(("127.0.0.1", 0))
        address = vanished.getsockname()
    near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.bind(("127.0.0.1", 0))
    near.connect(address)
    near.setblocking(False)
    ear = Hearer()
    await read(near, ear)
    near.send(b"anybody?")
    await settle()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as returned:
        returned.bind(address)
        returned.sendto(b"here", near.getsockname())
        await ear.until(lambda: ear.heard == [b"here"])
    assert metrics.counter("voice.faults").value == 0
