"""Tests of discordplex.loopback.discord.rest.rate_limits."""

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.rest.rate_limits import BucketLimit, RateLimiter


async def test_a_window_opens_with_the_first_call() -> None:
    """Two in five seconds: the third is refused until five seconds after the first, keys do not share, refusals cost nothing."""
    clock = FakeClock()
    limiter = RateLimiter(clock)
    limit = BucketLimit(2, 5.0)
    verdicts = [limiter.take(("a",), limit, "b") for _ in range(3)]
    assert [(verdict.allowed, verdict.remaining) for verdict in verdicts] == [(True, 1), (True, 0), (False, 0)]
    assert limiter.take(("other",), limit, "b").allowed
    await clock.advance(4.0)
    late = limiter.take(("a",), limit, "b")
    assert (late.allowed, late.reset_after_s) == (False, 1.0)
    await clock.advance(1.0)
    assert limiter.take(("a",), limit, "b").allowed


def test_the_headers_are_the_documented_ones() -> None:
    """A passed call shows the five headers; a refused one also Retry-After, scope, and the body that libraries read."""
    limiter = RateLimiter(FakeClock())
    passed, refused = (limiter.take(("a",), BucketLimit(1, 5.0), "bucket") for _ in range(2))
    assert {key: value for key, value in passed.headers(1000.0).items() if key != "Via"} == {
        "X-RateLimit-Limit": "1",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": "1005.000",
        "X-RateLimit-Reset-After": "5.000",
        "X-RateLimit-Bucket": "bucket",
    }
    assert refused.headers(1000.0)["Retry-After"] == "5.000"
    assert refused.headers(1000.0)["X-RateLimit-Scope"] == "user"
    assert refused.body() == {"message": "You are being rate limited.", "retry_after": 5.0, "global": False}
