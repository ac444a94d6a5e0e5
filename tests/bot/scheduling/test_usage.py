"""What a guild has used of engines that cost money: by the hour, for a day."""

from hypothesis import given
from hypothesis import strategies as st

from discordplex.bot.scheduling.usage import HOUR_S, HOURS, Usage
from discordplex.store.records import HourOfUse

MINUTE_S = 60.0
USES = st.lists(st.tuples(st.integers(1, 3), st.floats(0, 4 * HOUR_S), st.integers(0, 1000)), max_size=60)
"""Guild, pause before, seconds."""


class Day:
    """A usage, and the time that it goes by."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0 // HOUR_S * HOUR_S
        self.usage = Usage(lambda: self.now)


@given(USES)
def test_the_newest_24_hours_count(uses: list[tuple[int, float, int]]) -> None:
    """At every moment, for each guild by itself: the current hour and 23 before it. Nothing older is kept."""
    day = Day()
    noted: list[tuple[int, int, int]] = []
    for guild_id, pause_s, seconds in uses:
        day.now += pause_s
        day.usage.add(guild_id, seconds)
        hour = int(day.now // HOUR_S)
        noted.append((guild_id, hour, seconds))
        for one in (1, 2, 3):
            assert day.usage.used_s(one) == sum(used for of, then, used in noted if of == one and then > hour - HOURS)
    assert all(len(hours) <= HOURS for hours in day.usage._used.values())


@given(USES, st.integers(1, 60))
def test_a_minute_is_free_when_it_says(uses: list[tuple[int, float, int]], minutes: int) -> None:
    """At that time and not a second before."""
    day = Day()
    for guild_id, pause_s, seconds in uses:
        day.now += pause_s
        day.usage.add(guild_id, seconds)
    limit_s, before = minutes * MINUTE_S, day.now
    day.now = free_at = day.usage.free_at(1, limit_s, MINUTE_S)
    assert day.usage.used_s(1) + MINUTE_S <= limit_s
    assert before <= free_at <= before + HOURS * HOUR_S
    day.now = free_at - 1
    assert free_at == before or day.usage.used_s(1) + MINUTE_S > limit_s


@given(USES, st.integers(1, 5))
def test_what_is_saved_is_what_was_counted(uses: list[tuple[int, float, int]], every: int) -> None:
    """Whole seconds, each once, however often it is saved; a usage that gets them back counts the same."""
    day = Day()
    stored: dict[tuple[int, int], int] = {}

    def save() -> None:
        rows = day.usage.unsaved
        for one in rows:
            stored[one.guild_id, one.hour] = stored.get((one.guild_id, one.hour), 0) + one.seconds
        day.usage.add(1, 0.75)
        day.usage.saved(rows)

    for number, (guild_id, pause_s, seconds) in enumerate(uses):
        day.now += pause_s
        day.usage.add(guild_id, seconds)
        if number % every == 0:
            save()
    save()
    again = Usage(lambda: day.now)
    again.restore(HourOfUse(*key, seconds) for key, seconds in stored.items())
    for guild_id in (1, 2, 3):
        # Of each hour less than a second is not saved yet, and what was added during the last save.
        assert 0 <= day.usage.used_s(guild_id) - again.used_s(guild_id) < HOURS + 0.75
