"""When to try again, and when not any more."""

from discordplex.voice.reconnect import DELAYS_S, MAX_RESUMES, Backoff


def test_the_first_try_is_made_at_once_and_the_last_is_the_last() -> None:
    """The delays grow, and after them the answer is to give up, until something has flowed."""
    backoff = Backoff()
    delays = [backoff.next_delay_s() for _ in DELAYS_S]
    assert delays[0] == 0
    assert delays == sorted(DELAYS_S)
    assert backoff.next_delay_s() is None
    backoff.reset()
    assert backoff.next_delay_s() == 0


def test_resumes_run_out_first() -> None:
    """A session that cannot be resumed in three tries is entered anew."""
    backoff = Backoff()
    for _ in range(MAX_RESUMES):
        backoff.next_delay_s()
    assert not backoff.resumes_exhausted
    backoff.next_delay_s()
    assert backoff.resumes_exhausted
