"""What is owed, when to leave something out, when a server is silent and when it is slow."""

import pytest

from discordplex.personaplex.lag import (
    MAX_BACKLOG_BYTES,
    SHED_SILENCE_MS,
    SHED_SPEECH_MS,
    TRICKLE_S,
    UNANSWERED_FRAMES,
    LagTracker,
)


def sent(lag: LagTracker, milliseconds: int, at: float = 0.0) -> None:
    for _ in range(0, milliseconds, 20):
        lag.sent(at)


def answered(lag_ms: int = 100) -> LagTracker:
    """A conversation that runs well, `lag_ms` of it always under way."""
    lag = LagTracker()
    sent(lag, 1000 + lag_ms)
    lag.received(1000)
    return lag


def test_lag_is_what_was_sent_and_not_answered() -> None:
    """Time is counted in audio, not on a clock."""
    assert answered(100).lag_ms == 100


def test_a_server_that_keeps_up_gets_everything() -> None:
    """However long the road is: what is usual is not a delay to mend."""
    for road_ms in (100, 900, 3000):
        lag = answered(road_ms)
        assert lag.behind_ms == 0
        assert lag.may_send(speech=False, backlog_bytes=0)


def test_a_server_that_falls_behind_loses_silence_first_and_then_speech() -> None:
    """Silent ticks are left out at half a second, speech at two, and both are sent again once it has caught up."""
    lag = answered()
    sent(lag, int(SHED_SILENCE_MS) + 20)
    assert not lag.may_send(speech=False, backlog_bytes=0)
    assert lag.may_send(speech=True, backlog_bytes=0)
    sent(lag, int(SHED_SPEECH_MS - SHED_SILENCE_MS))
    assert not lag.may_send(speech=True, backlog_bytes=0)
    lag.received(SHED_SPEECH_MS)
    assert lag.may_send(speech=False, backlog_bytes=0)


def test_nothing_is_left_out_before_the_first_answer() -> None:
    """What is usual for a server is not known before it has answered; that it never does is the watchdog's business."""
    lag = LagTracker()
    sent(lag, 10_000)
    assert lag.may_send(speech=False, backlog_bytes=0)


def test_a_full_write_buffer_stops_everything() -> None:
    """A peer that does not read gets nothing more, speech or not."""
    lag = answered()
    assert lag.may_send(speech=True, backlog_bytes=MAX_BACKLOG_BYTES)
    assert not lag.may_send(speech=True, backlog_bytes=MAX_BACKLOG_BYTES + 1)


def test_silence_is_counted_from_the_first_unanswered_frame() -> None:
    """The watchdog's time runs while something is owed: not before there is enough to answer, and not after the answer."""
    lag = LagTracker()
    sent(lag, 160, at=10.0)
    assert lag.silent_for_s(20.0) == 0.0
    sent(lag, 20, at=11.0)
    assert lag.silent_for_s(20.0) == 10.0
    lag.received(80)
    assert lag.silent_for_s(20.0) == 0.0
    sent(lag, 180, at=21.0)
    assert lag.silent_for_s(22.0) == 1.0


class Server:
    """A server that steps when it has 80 ms, at a speed of its own, seen through the account of a client that ticks every 20 ms."""

    def __init__(self, *, behind_ms: float = 0.0) -> None:
        self.lag = answered()
        self.now = 0.0
        self._owed_ms = 100.0 + behind_ms
        self._capacity_ms = 0.0
        sent(self.lag, int(behind_ms) + 80)
        self.lag.received(80)

    def run(self, seconds: float, *, speech: bool, speed: float) -> float:
        """Tick for so long; the longest silence that the watchdog saw. `speed` 1.0 is real time, 0 is frozen."""
        longest = 0.0
        for _ in range(round(seconds * 50)):
            self.now += 0.02
            if self.lag.may_send(speech=speech, backlog_bytes=0):
                self.lag.sent(self.now)
                self._owed_ms += 20
            else:
                self.lag.shed(self.now)
            self._capacity_ms = min(self._capacity_ms + 20 * speed, 80.0) if speed else 0.0
            if self._capacity_ms >= 80 and self._owed_ms >= 80:
                self._capacity_ms -= 80
                self._owed_ms -= 80
                self.lag.received(80)
            longest = max(longest, self.lag.silent_for_s(self.now))
        return longest


STATES = [(behind_ms, speech) for behind_ms in (0, 400, 1000, 1900, 2500, 10_000) for speech in (False, True)]


@pytest.mark.parametrize(("behind_ms", "speech"), STATES)
def test_a_frozen_server_is_noticed_in_every_state(behind_ms: float, speech: bool) -> None:  # noqa: FBT001 -- a table's column
    """Behind or calm, speech or silence: after 3 s without audio the silence is 3 s long, whether or not anything could be sent."""
    server = Server(behind_ms=behind_ms)
    assert server.run(3.3, speech=speech, speed=0) == pytest.approx(3.3, abs=0.2)


@pytest.mark.parametrize(("behind_ms", "speech"), STATES)
def test_a_server_that_answers_is_never_silent(behind_ms: float, speech: bool) -> None:  # noqa: FBT001 -- a table's column
    """However far it is behind, and also where it is too slow for real time: it is not taken for a dead one."""
    for speed in (0.5, 1.0, 3.0):
        assert Server(behind_ms=behind_ms).run(30, speech=speech, speed=speed) < 1.0


@pytest.mark.parametrize("speech", [False, True])
@pytest.mark.parametrize("hiccup_s", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("speed", [1.0, 1.2, 3.0])
def test_a_hiccup_is_no_slowness(speech: bool, hiccup_s: float, speed: float) -> None:  # noqa: FBT001 -- a table's column
    """A server that stood still for a moment and goes on is neither silent nor slow, though frames were left out."""
    server = Server()
    server.run(1, speech=speech, speed=speed)
    assert server.run(hiccup_s, speech=speech, speed=0) < 3.0
    for _ in range(200):
        server.run(0.1, speech=speech, speed=speed)
        assert server.lag.shedding_for_s(server.now) < 10.0


@pytest.mark.parametrize("speech", [False, True])
def test_a_server_below_real_time_is_slow(speech: bool) -> None:  # noqa: FBT001 -- a table's column
    """It answers all the time, and frames have to be left out again and again."""
    server = Server()
    server.run(20, speech=speech, speed=0.7)
    assert server.lag.shedding_for_s(server.now) > 10.0


def test_a_pause_of_ours_counts_for_nothing() -> None:
    """Without ticks nothing is owed; and a time in which our own process stood still is excused."""
    server = Server()
    server.run(1, speech=True, speed=1)
    assert server.lag.silent_for_s(server.now + 60) == 0.0
    for _ in range(UNANSWERED_FRAMES + 1):
        server.lag.sent(server.now)
    assert server.lag.silent_for_s(server.now + 60) == pytest.approx(60, abs=0.2)
    server.lag.excuse(59)
    assert server.lag.silent_for_s(server.now + 60) == pytest.approx(1, abs=0.2)


def test_damaged_audio_is_no_sign_of_life() -> None:
    """Its steps are accounted for, but a server that sends nothing else is given up."""
    server = Server()
    lag_ms = server.lag.lag_ms
    sent(server.lag, 400)
    server.lag.damaged(400)
    assert server.lag.lag_ms == lag_ms
    assert server.lag.silent_for_s(3.0) > 2.9


@pytest.mark.parametrize(
    ("each_s_ms", "damaged_ms", "gives_up"),
    [(0, 0, True), (8, 0, True), (99, 0, True), (99, 160, True), (100, 0, False), (500, 0, False), (1000, 0, False)],
)
@pytest.mark.parametrize("well_s", [0, 7, 100])
def test_a_trickle_is_less_than_a_tenth_of_real_time(each_s_ms: int, damaged_ms: int, *, gives_up: bool, well_s: int) -> None:
    """Over half a minute of ticks, sent or left out, whenever it begins, and damaged sound is none."""
    lag = LagTracker()
    for _ in range(well_s):
        lag.received(1000)
        sent(lag, 1000)
    for second in range(TRICKLE_S):
        assert well_s or not lag.trickles(), second
        lag.received(each_s_ms)
        lag.damaged(damaged_ms)
        for _ in range(25):
            lag.sent(0.0)
            lag.shed(0.0)
    assert lag.trickles() == gives_up


def test_a_pause_of_ours_is_no_trickle() -> None:
    """Seconds without a tick are not the server's: an hour's sleep of this machine leaves the account as it was."""
    lag = answered()
    for second in range(TRICKLE_S * 2):
        lag.received(1000)
        for _ in range(50):
            lag.sent(second * 3600.0)
    assert not lag.trickles()
