"""What is owed, and when to leave something out."""

from discordplex.personaplex.ledger import MAX_BACKLOG_BYTES, SHED_SILENCE_MS, SHED_SPEECH_MS, Ledger


def sent(ledger: Ledger, milliseconds: int, at: float = 0.0) -> None:
    for _ in range(0, milliseconds, 20):
        ledger.sent(at)


def answered(lag_ms: int = 100) -> Ledger:
    """A conversation that runs well, `lag_ms` of it always under way."""
    ledger = Ledger()
    sent(ledger, 1000 + lag_ms)
    ledger.received(1000)
    return ledger


def test_lag_is_what_was_sent_and_not_answered() -> None:
    """Time is counted in audio, not on a clock."""
    assert answered(100).lag_ms == 100


def test_a_server_that_keeps_up_gets_everything() -> None:
    """However long the road is: what is usual is not a delay to mend."""
    for road_ms in (100, 900, 3000):
        ledger = answered(road_ms)
        assert ledger.behind_ms == 0
        assert ledger.may_send(speech=False, backlog_bytes=0)


def test_a_server_that_falls_behind_loses_silence_first_and_then_speech() -> None:
    """Silent ticks are left out at half a second, speech at two, and both are sent again once it has caught up."""
    ledger = answered()
    sent(ledger, int(SHED_SILENCE_MS) + 20)
    assert not ledger.may_send(speech=False, backlog_bytes=0)
    assert ledger.may_send(speech=True, backlog_bytes=0)
    sent(ledger, int(SHED_SPEECH_MS - SHED_SILENCE_MS))
    assert not ledger.may_send(speech=True, backlog_bytes=0)
    ledger.received(SHED_SPEECH_MS)
    assert ledger.may_send(speech=False, backlog_bytes=0)


def test_nothing_is_left_out_before_the_first_answer() -> None:
    """What is usual for a server is not known before it has answered; that it never does is the watchdog's business."""
    ledger = Ledger()
    sent(ledger, 10_000)
    assert ledger.may_send(speech=False, backlog_bytes=0)


def test_a_full_write_buffer_stops_everything() -> None:
    """A peer that does not read gets nothing more, speech or not."""
    ledger = answered()
    assert ledger.may_send(speech=True, backlog_bytes=MAX_BACKLOG_BYTES)
    assert not ledger.may_send(speech=True, backlog_bytes=MAX_BACKLOG_BYTES + 1)


def test_silence_is_counted_from_the_first_unanswered_frame() -> None:
    """The watchdog's time runs while something is owed: not before there is enough to answer, and not after the answer."""
    ledger = Ledger()
    sent(ledger, 160, at=10.0)
    assert ledger.silent_for_s(20.0) == 0.0
    sent(ledger, 20, at=11.0)
    assert ledger.silent_for_s(20.0) == 10.0
    ledger.received(80)
    assert ledger.silent_for_s(20.0) == 0.0
    sent(ledger, 180, at=21.0)
    assert ledger.silent_for_s(22.0) == 1.0
