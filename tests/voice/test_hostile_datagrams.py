"""Sixteen thousand hostile datagrams through a real socket; `make soak` sends forty times as many.

Hypothesis chooses the seeds, and shows the one that breaks something.
"""

import asyncio
import random
import socket
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discordplex.audio.opus import SILENCE_PACKET
from discordplex.clock import SystemClock
from discordplex.metrics import Metrics
from discordplex.voice.rtp.receiver import DISCOVERY, MAX_STREAMS
from discordplex.voice.rtp.socket import DatagramReader
from tests.voice.booth import noise
from tests.voice.delivery import call_of
from tests.voice.mutations import BATCH, DATAGRAM_SEEDS, DATAGRAMS, EXAMPLES, ROOM_MIB, memory_mib, mutated
from tests.voice.rtp.test_receiver import SSRC, Studio, packets_of

ANN, BOB, CAT = 11, 22, 33
SPEECH = packets_of(noise(20))


class Target:
    """A receiver in an encrypted call, on a real socket and a loop of its own, and whoever sends to it."""

    def __init__(self, metrics: Metrics) -> None:
        self.delivery, (self.ann, self.bob, _) = call_of(ANN, BOB, CAT)
        self.studio = Studio(self.ann.e2ee)
        self.studio.receiver.name(SSRC, BOB)
        self._awaited = 0
        self.now = 0.0
        self.sequence = 0
        self._near, self._far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        for sock in (self._near, self._far):
            sock.bind(("127.0.0.1", 0))
        self._near.setblocking(False)
        self._near.connect(self._far.getsockname())
        self._far.connect(self._near.getsockname())
        self._loop = asyncio.new_event_loop()
        reader = DatagramReader(self, clock=SystemClock(), metrics=metrics)
        self._transport, _ = self._loop.run_until_complete(self._loop.create_datagram_endpoint(lambda: reader, sock=self._near))

    @property
    def due(self) -> float | None:
        return self.studio.receiver.due

    def receive(self, datagram: bytes, now: float) -> None:
        del now
        self.now += 0.02  # as fast as people speak: what comes faster is dropped, which is another test's matter
        try:
            self.studio.receiver.receive(datagram, self.now)
        finally:
            self._awaited -= 1
            if self._awaited == 0:
                self._loop.stop()

    def tick(self, now: float) -> None:
        del now
        self.studio.receiver.tick(self.now)

    def failed(self, error: Exception) -> None:
        self.studio.receiver.failed(error)

    def send(self, datagrams: Iterable[bytes]) -> None:
        """Send them all and return when they have been taken."""
        batch = list(datagrams)
        for start in range(0, len(batch), BATCH):
            part = batch[start : start + BATCH]
            self._awaited = len(part)
            for datagram in part:
                self._far.send(datagram)
            self._loop.run_forever()

    def good(self) -> bytes:
        """The next datagram of somebody whom we hear."""
        self.sequence = (self.sequence + 1) & 0xFFFF
        frame = self.bob.e2ee.encrypt(SPEECH[self.sequence % len(SPEECH)])
        assert frame
        return self.studio.datagram(self.sequence, frame)

    def close(self) -> None:
        self._far.close()
        self._transport.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


@pytest.fixture
def target() -> Iterator[Target]:
    metrics = Metrics()
    made = Target(metrics)
    yield made
    made.close()
    assert metrics.counter("voice.faults").value == 0


def hostile_datagram(dice: random.Random, target: Target) -> bytes:
    """From outside, mutations of what is on the wire; from inside, authentic packets with mutated content."""
    if dice.random() < 0.4:
        return mutated(dice, target.good())
    if dice.random() < 0.1:
        return mutated(dice, DISCOVERY.pack(2, 70, SSRC, b"127.0.0.1", 50_000))
    sequence = dice.choice((target.sequence, target.sequence + dice.randrange(-200, 200), dice.randrange(1 << 16))) & 0xFFFF
    payload = target.bob.e2ee.encrypt(mutated(dice, dice.choice(SPEECH))) or b""
    if dice.random() < 0.5:
        payload = mutated(dice, dice.choice((payload, SILENCE_PACKET, b"")))
    ssrc = dice.choice((SSRC, SSRC, dice.randrange(1 << 32)))
    words = dice.choice((None, 0, 1, 3))
    return target.studio.datagram(sequence, payload, ssrc=ssrc, padding=dice.choice((0, 0, 1, 255)), words=words)


def test_no_datagram_does_harm(target: Target) -> None:
    """Sixteen thousand: no exception escapes, the thread lives, memory stays flat, and after each two thousand good packets are heard."""
    held: list[float] = []

    @settings(EXAMPLES, max_examples=DATAGRAM_SEEDS)
    @given(seed=st.integers(0, 2**32))
    def attack(seed: int) -> None:
        dice = random.Random(seed)
        target.send(hostile_datagram(dice, target) for _ in range(DATAGRAMS))
        target.sequence = dice.randrange(1 << 16)
        before = target.studio.ear.frames(BOB)
        target.send([target.good() for _ in range(200)])
        assert target.studio.ear.frames(BOB) - before >= 190
        target.studio.ear.pcm.clear()
        target.studio.ear.opus.clear()
        held.append(memory_mib())

    attack()
    counts = target.studio.counts()
    assert counts.get("faults") is None
    assert sum(counts.values()) > DATAGRAM_SEEDS * DATAGRAMS
    assert len(target.studio.receiver.stream_counts()) <= MAX_STREAMS + 1
    assert held[-1] - held[len(held) // 4] < ROOM_MIB
