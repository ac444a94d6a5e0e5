"""How often each of many may do something."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.bot.cooldowns import Cooldowns, Rate

RATE = Rate(burst=3, interval_s=10.0)


def test_so_many_at_once_and_then_one_after_each_interval() -> None:
    """The burst is free; then the next one is possible when one interval is over, and after a long pause the whole burst is."""
    used = Cooldowns()
    for _ in range(3):
        assert used.wait_s("a", RATE, 100.0) == 0
        used.use("a", RATE, 100.0)
    assert used.wait_s("a", RATE, 100.0) == 10.0
    assert used.wait_s("b", RATE, 100.0) == 0
    assert used.wait_s("a", RATE, 109.0) == 1.0
    assert used.wait_s("a", RATE, 110.0) == 0
    used.use("a", RATE, 110.0)
    assert used.wait_s("a", RATE, 110.0) == 10.0
    assert used.wait_s("a", RATE, 200.0) == 0


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 30)), max_size=60))
def test_nobody_exceeds_the_rate(steps: list[tuple[str, float]]) -> None:
    """Whatever the order and the pauses, no window holds more than the burst and what its length gives back."""
    used, now, done = Cooldowns(), 0.0, {key: [0.0][:0] for key in "abc"}
    for key, pause_s in steps:
        now += pause_s
        if not used.wait_s(key, RATE, now):
            used.use(key, RATE, now)
            done[key].append(now)
    for times in done.values():
        for first, start in enumerate(times):
            for last in range(first, len(times)):
                assert last - first + 1 <= RATE.burst + (times[last] - start) / RATE.interval_s + 1e-6


def test_a_flood_of_keys_is_bounded() -> None:
    """Those who used it least lately are forgotten; what has been given back takes no room."""
    used = Cooldowns(most=10)
    for key in range(1000):
        used.use(key, RATE, 0.0)
    assert len(used) == 10
    assert used.wait_s(999, Rate(1, 10.0), 0.0) == 10.0
    used.use("late", RATE, 1000.0)
    assert len(used) == 1
