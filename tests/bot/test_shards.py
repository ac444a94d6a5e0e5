"""How a bot is divided into gateway connections, and how often each may log in."""

import json
from typing import Any

import pytest

from discordplex.bot.shards import (
    IDENTIFY_S,
    WHOLE,
    AskError,
    ClusterTurns,
    GatewayAdvice,
    LoginTurns,
    Pace,
    Shard,
    advice,
    pace_of_identifies,
)
from discordplex.loopback.clock import FakeClock


def test_pauses_double_until_one_has_lasted() -> None:
    """The first is begun at once; the pause is counted from the beginning of the last one."""
    pace = Pace(first_s=5, longest_s=30, lasting_s=100)
    waits = []
    now = 1000.0
    for lasted_s in (0, 1, 0, 0, 0, 99, 100, 0, 1000):
        waits.append(pace.wait_s(now))
        now += waits[-1]
        pace.begin(now)
        now += lasted_s
    assert waits == [0, 5, 9, 20, 30, 30, 0, 0, 5]


@pytest.mark.parametrize("lasts_s", [0, 5, 60, 119, 300, 599, 600, 3600])
def test_identifies_keep_to_discords_limit(lasts_s: float) -> None:
    """However long sessions last before they fail: fewer than 1,000 are begun in any day."""
    pace = pace_of_identifies()
    now, count = 0.0, 0
    while now < 86_400:
        now += pace.wait_s(now)
        pace.begin(now)
        now, count = now + lasts_s, count + 1
    assert count < 800


def test_every_guild_belongs_to_one_shard() -> None:
    """By the bits above the 22nd of its id (documented)."""
    shards = [Shard(number, 3) for number in range(3)]
    for guild_id in (0, 1 << 22, 2 << 22, 922746892582912000, 81384788765712384):
        assert [shard.number for shard in shards if shard.covers(guild_id)] == [(guild_id >> 22) % 3]
        assert WHOLE.covers(guild_id)


@pytest.mark.parametrize(("max_concurrency", "waits"), [(1, [0, 5, 10, 15, 20]), (2, [0, 0, 5, 5, 10]), (16, [0] * 5)])
def test_shards_log_in_in_turn(max_concurrency: int, waits: list[float]) -> None:
    """So many in five seconds as Discord allows; asking again keeps the turn."""
    turns = LoginTurns()
    turns.max_concurrency = max_concurrency
    shards = [Shard(number, 5) for number in range(5)]
    assert [turns.wait_s(shard, 100.0) for shard in shards] == waits
    assert [turns.wait_s(shard, 100.0) for shard in shards] == waits


def test_a_shard_that_logs_in_late_delays_the_next() -> None:
    """The pause is counted from the login, not from its turn."""
    turns, first, second = LoginTurns(), Shard(0, 2), Shard(1, 2)
    assert turns.wait_s(first, 0.0) == 0.0
    turns.begin(first, 3.0)
    assert turns.wait_s(second, 3.0) == IDENTIFY_S
    turns.begin(second, 8.0)
    assert turns.wait_s(first, 8.0) == IDENTIFY_S, "and its own pace allows it"


@pytest.mark.parametrize("count", [1, 2, 16])
def test_all_shards_together_keep_to_the_daily_limit(count: int) -> None:
    """Whatever ends their sessions at once: fewer than 1,000 logins a day, beside the first ones."""
    turns, now, logins = LoginTurns(), 0.0, 0
    shards = [Shard(number, count) for number in range(count)]
    while now < 86_400:
        due = min(shards, key=lambda shard: turns.wait_s(shard, now))
        now += turns.wait_s(due, now)
        turns.begin(due, now)
        logins += 1
    assert logins < 800 + 12 * count


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"shards": 4, "session_start_limit": {"max_concurrency": 2, "remaining": 7}}, GatewayAdvice(4, 2, 7)),
        ({"shards": 1}, GatewayAdvice()),
        ({"shards": 0}, None),
        ({"shards": 10**9}, None),
        ({"shards": "many"}, None),
        ({"shards": 2, "session_start_limit": {"max_concurrency": 0}}, None),
        ({"shards": 2, "session_start_limit": 7}, None),
        ({}, None),
        ([], None),
    ],
)
def test_what_discord_advises(answer: Any, found: GatewayAdvice | None) -> None:
    """Numbers of any other kind are no advice."""
    if found:
        assert advice(json.dumps(answer).encode()) == found
    else:
        with pytest.raises(AskError, match="not from Discord"):
            advice(json.dumps(answer).encode())


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"shards": ', b"[" * 50_000, b"\xff"])
def test_an_answer_that_is_none(body: bytes) -> None:
    """A proxy's page, half an answer, or one that is deep."""
    with pytest.raises(AskError):
        advice(body)


async def test_a_slow_answer_about_a_turn_makes_nobody_early(clock: FakeClock) -> None:
    """Discord would refuse a login that comes before its turn, and the shard would wait for another one."""

    async def book(_shard: int, _groups: int) -> float:
        await clock.advance(0.3)
        return 5.0

    turns, shard = ClusterTurns(book, clock), Shard(1, 2)
    booked_at = clock.now() + 0.3
    assert await turns.identify_s(shard, clock.now()) == pytest.approx(5.0)
    await clock.advance(4.0)
    assert await turns.identify_s(shard, clock.now()) == pytest.approx(booked_at + 5.0 - clock.now())
