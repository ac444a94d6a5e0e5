"""One thread for all calls: real time, no assertion about speed."""

import threading
from collections.abc import Iterator

import pytest

from discordplex.clock import SystemClock
from discordplex.metrics import Metrics
from discordplex.voice.rtp.threads import SendThread

PATIENCE_S = 5.0


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
def send_thread(metrics: Metrics, no_stray_threads: None) -> Iterator[SendThread]:
    del no_stray_threads
    with SendThread(clock=SystemClock(), metrics=metrics) as opened:
        yield opened


def test_talkers_are_called_at_their_deadlines(send_thread: SendThread) -> None:
    """Each at its own period, never early, and no more after `unpace`."""
    quick, slow = Beater(0.002), Beater(0.05)
    send_thread.pace(quick)
    send_thread.pace(quick)
    send_thread.pace(slow)
    quick.wait_for_turns(20)
    slow.wait_for_turns(2)
    send_thread.unpace(quick)
    send_thread.unpace(quick)
    slow.wait_for_turns(3)
    turns = quick.turns
    slow.wait_for_turns(4)
    assert quick.turns == turns


def test_a_fault_of_one_talker_stops_no_other(send_thread: SendThread, metrics: Metrics) -> None:
    """It is told once, counted each time, and its turns go on like everybody else's."""
    broken, whole = Beater(0.002, ValueError("broken")), Beater(0.002)
    send_thread.pace(broken)
    send_thread.pace(whole)
    broken.wait_for_turns(3)
    whole.wait_for_turns(3)
    assert len(broken.faults) == 1
    assert metrics.counter("voice.faults").value >= 2
