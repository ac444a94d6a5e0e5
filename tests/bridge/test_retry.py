"""The back-off schedule and the give-up rule."""

from discordplex.bridge.retry import EngineRetries, RetryRule

PATIENT = RetryRule(failures=1000, streak_s=10_000)


def calm() -> float:
    """No jitter."""
    return 0.0


def test_waits_grow_and_then_stay() -> None:
    """A server that stays away is tried after 1, 2, 4, 8 seconds, and every 15 from then on."""
    retry = EngineRetries(chance=calm, rule=PATIENT)
    assert [retry.failed(now=0.0) for _ in range(7)] == [1, 2, 4, 8, 15, 15, 15]


def test_jitter_only_lengthens() -> None:
    """Chance makes a wait up to a tenth longer and never shorter."""
    retry = EngineRetries(chance=lambda: 1.0, rule=PATIENT)
    assert [retry.failed(now=0.0) for _ in range(2)] == [1.1, 2.2]


def test_enough_failures_in_a_streak_are_the_end() -> None:
    """The last failure that the rule allows gives no further try."""
    retry = EngineRetries(chance=calm, rule=RetryRule(failures=3))
    assert [retry.failed(now=0.0) for _ in range(3)] == [1, 2, None]


def test_a_long_streak_is_the_end_however_few_its_failures() -> None:
    """A server that takes a minute to fail is given up after the streak's length, not after a dozen minutes."""
    retry = EngineRetries(chance=calm)
    waits = [retry.failed(now=60.0 * minute) for minute in range(6)]
    assert waits == [1, 2, 4, 8, 15, None]


def test_only_received_audio_forgives() -> None:
    """An opening that gave less than ten seconds of audio counts as a failure like any other; ten seconds begin a new streak."""
    retry = EngineRetries(chance=calm)
    assert retry.failed(now=0.0) == 1
    retry.received(9.9)
    assert retry.failed(now=1.0) == 2
    retry.received(10.0)
    assert retry.failed(now=1000.0) == 1


def test_the_default_outlasts_a_model_that_loads() -> None:
    """A server that refuses for ninety seconds is still being tried."""
    retry = EngineRetries(chance=calm)
    now = 0.0
    while (wait := retry.failed(now)) is not None:
        now += wait
    assert 90 <= now <= 300
