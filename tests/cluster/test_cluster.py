"""Several processes on one real database."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from discordplex.clock import SystemClock
from discordplex.cluster.arbiter import LOGIN_SPACING_S
from discordplex.cluster.cluster import joined
from discordplex.cluster.snapshot import TTL_S
from discordplex.config import ClusterConfig
from discordplex.doctor.cluster import check_cluster
from discordplex.engine_slots import SlotPurpose
from discordplex.errors import ConfigError
from discordplex.loopback import timeouts
from discordplex.queue_order import GuildCall, WaitingChannel
from tests.cluster.conftest import BOT, Process, User, World, WorldRows, answer
from tests.store.conftest import MakePooler, Sql, postgresql_programs, run

A, B = "personaplex:a", "personaplex:b"

LONG_S = 20.0
"""Who waits so long for another process's word waits for ever."""


async def until(true: Callable[[], bool]) -> None:
    """Wait for what comes by a socket, and in real time."""
    with anyio.fail_after(LONG_S * timeouts.FACTOR):
        while not true():  # noqa: ASYNC110 - nothing of this process happens
            await asyncio.sleep(0.005)


async def test_processes_divide_the_shards_fairly(world: World) -> None:
    """The first takes all; those that join later get their part, and nobody ever has the same."""
    async with world.process(shards=4) as one:
        assert one.cluster.shards == {0, 1, 2, 3}
        async with world.process(shards=9) as two, world.process() as three:
            await world.advance(30)
            assert sorted(len(process.cluster.shards) for process in (one, two, three)) == [1, 1, 2]
            assert all(len(holders) == 1 for holders in world.shards().values())
        await world.advance(2)
        assert one.cluster.shards == {0, 1, 2, 3}


async def test_a_killed_process_is_replaced_when_it_has_lapsed(world: World) -> None:
    """Not before, and within a beat after."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        assert one.cluster.shards | two.cluster.shards == {0, 1}
        await two.kill()
        await world.advance(3)
        assert len(one.cluster.shards) == 1
        await world.advance(2)
        assert one.cluster.shards == {0, 1}


async def test_a_slot_goes_to_the_first_who_waits_in_any_process(world: World) -> None:
    """One server, two processes: the second one's guild came first."""
    async with world.process(A) as one, world.process(A) as two:
        two.wish(5)
        await two.cluster.beat()
        assert two.cluster.slots.may_take(A, "call")
        user = User()
        two.cluster.slots.take(A, "call", 5, user)
        two.wish()
        one.wish(7)
        two.wish(6)
        await world.beat()
        assert not one.cluster.slots.may_take(A, "call")
        two.cluster.slots.give_back(A)
        await world.beat()
        assert two.cluster.slots.may_take(A, "call")


async def test_the_tables_are_made_where_there_are_none(world: World, sql: Callable[[], Sql]) -> None:
    """`cluster.url` may name another database than `store.url`."""
    async with sql() as other:
        await other("DROP SCHEMA public CASCADE")
        await other("CREATE SCHEMA public")
        await other.commit()
    async with joined(world.url, clock=SystemClock()) as cluster:
        assert not await cluster.beat()
        assert await cluster.beat()
        assert cluster.connected
    async with sql() as other:
        assert await other("SELECT count(*) FROM cluster_members") == [(0,)]


async def test_a_url_of_another_database_is_refused() -> None:
    """In a sentence that names the key."""
    with pytest.raises(ConfigError, match=r"^cluster\.url is 'mysql://db/bot', but must look like"):
        async with joined("mysql://db/bot", clock=SystemClock()):
            pass


# Death


async def test_a_process_that_ends_is_replaced_at_once(world: World) -> None:
    """It says so by NOTIFY: no time passes."""
    async with world.process(A, shards=2) as one, world.process(A) as two:
        await world.advance(20)
        assert len(one.cluster.shards) == 1
        two.wish(5)
        await two.cluster.beat()
        two.cluster.slots.take(A, "call", 5, User())
        two.wish()
        one.wish(6)
        await world.beat()
        assert not one.cluster.slots.may_take(A, "call")
        await two.end()
        await until(lambda: one.cluster.shards == {0, 1})
        assert one.cluster.slots.may_take(A, "call")
        assert not one.cluster.slots.may_be_busy(A)


async def test_a_process_that_wakes_gives_up_what_was_taken_before_it_handles_an_event(world: World) -> None:
    """Its calls on lost slots end, and its lost shards are not its own any more, when `passable` returns."""
    async with world.process(A, B, shards=2) as one, world.process(A, B) as two:
        await world.advance(20)
        users = {A: User(), B: User()}
        two.wish(5, 6)
        await two.cluster.beat()
        for slot, user in users.items():
            two.cluster.slots.take(slot, "call", slot, user)
        two.wish()
        await world.beat()
        two.frozen = True
        one.wish(7)
        await world.advance(60)
        assert one.cluster.shards == {0, 1}
        taken = A if one.cluster.slots.may_take(A, "call") else B
        assert one.cluster.slots.may_be_busy(taken)
        one.cluster.slots.take(taken, "call", 7, User())
        one.wish()
        await one.cluster.beat()
        two.clock.stand_still(60)
        assert not two.cluster.alive
        two.frozen = False
        await two.cluster.passable()
        assert two.cluster.shards == frozenset()
        assert {slot for slot, user in users.items() if user.said == ["lost"]} == {taken}, "what nobody took goes on"
        await world.advance(20)
        assert len(two.cluster.shards) == 1


async def test_a_process_that_wakes_knows_what_it_may_write(world: World) -> None:
    """Nothing of a guild before it has asked the others, also if it could not reach them at first; then of what it has."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        mine = min(two.cluster.shards) << 22
        assert two.cluster.holds(mine)
        assert await two.cluster.is_sure()
        two.frozen = True
        await world.advance(60)
        one.cluster.is_busy = lambda _: True
        two.clock.stand_still(60)
        two.frozen, world.away = False, True
        assert not await two.cluster.is_sure()
        world.away = False
        asked = asyncio.create_task(two.cluster.is_sure())
        await world.advance(2)
        assert await asked
        assert not two.cluster.holds(mine)
        assert (one.cluster.deaths, two.cluster.deaths) == (0, 1)
        one.cluster.is_busy = lambda _: False
        await world.advance(20)
        assert two.cluster.deaths == 1
        assert two.cluster.holds(min(two.cluster.shards) << 22)


async def test_a_process_that_was_stopped_for_a_moment_goes_on(world: World) -> None:
    """Events pass at once while it lives."""
    async with world.process(A, shards=2) as one:
        one.clock.stand_still(TTL_S - 0.5)
        changes = len(one.changes)
        await one.cluster.passable()
        assert one.cluster.alive
        assert one.cluster.shards == {0, 1}
        assert len(one.changes) == changes


async def test_a_draining_process_gives_up_each_shard_when_its_calls_end(world: World) -> None:
    """The others have it at once."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        (busy,) = two.cluster.shards
        two.cluster.is_busy = lambda shard: shard == busy
        two.cluster.drain()
        await world.advance(2)
        assert two.cluster.draining
        assert two.cluster.shards == {busy}
        two.cluster.is_busy = lambda _: False
        await two.cluster.beat()
        await until(lambda: one.cluster.shards == {0, 1})
        await world.advance(20)
        assert two.cluster.shards == frozenset()


# The database


async def test_after_an_outage_the_holders_come_back_first(world: World) -> None:
    """Whoever has nothing waits until everybody had the time to return; calls go on, and nothing new begins meanwhile."""
    async with world.process(A, B, shards=2) as one, world.process(A, B) as two:
        await world.advance(20)
        user = User()
        one.wish(5)
        await one.cluster.beat()
        one.cluster.slots.take(A, "call", 5, user)
        one.wish(6)
        await one.cluster.beat()
        assert one.cluster.slots.may_take(B, "call")
        held = one.cluster.shards
        world.away = True
        await world.advance(30)
        assert not one.cluster.connected
        assert one.cluster.alive
        await one.cluster.passable()
        assert one.cluster.shards == held
        assert not one.cluster.slots.may_take(B, "call"), "somebody else may have it by now"
        assert not one.cluster.queue.reachable
        world.away = False
        two.wish(7)
        await two.clock.advance(1)
        await until(lambda: two.cluster.connected)
        assert two.cluster.shards.isdisjoint(held)
        assert not two.cluster.slots.may_take(A, "call")
        await world.advance(10)
        assert one.cluster.shards == held
        assert user.said == []
        assert [change.now for change in one.changes] == sorted(change.now for change in one.changes)


async def test_a_restarted_server_changes_nothing(world: World, cluster: Path) -> None:
    """All connections are made again, and listen again."""
    async with world.process(A, shards=2) as one, world.process(A) as two:
        await world.advance(20)
        held = one.cluster.shards, two.cluster.shards
        programs = postgresql_programs()
        assert programs is not None
        setting = f"-k {cluster} -c listen_addresses= -c fsync=off -c max_connections=50"
        run(cluster, programs / "pg_ctl", "-D", cluster / "data", "-s", "-w", "-m", "fast", "-o", setting, "-l", cluster / "log", "restart")
        await world.advance(10)
        assert (one.cluster.shards, two.cluster.shards) == held
        assert one.cluster.connected
        await two.end()
        await until(lambda: one.cluster.shards == {0, 1})


async def test_a_server_that_has_just_been_started_proves_nobody_s_death(world: World) -> None:
    """Its clock may have run while nobody could reach it."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        await two.kill()
        world.up_since = world.now
        await world.advance(4.5)
        assert len(one.cluster.shards) == 1
        await world.advance(2)
        assert one.cluster.shards == {0, 1}


async def test_a_clock_that_is_set_kills_nobody(world: World) -> None:
    """Neither forward nor back."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        held = one.cluster.shards, two.cluster.shards
        for seconds in (3600, -7200):
            world.now += seconds
            await world.advance(10)
            assert (one.cluster.shards, two.cluster.shards) == held


async def test_after_the_clock_was_set_back_nobody_waits_for_the_old_time(world: World) -> None:
    """A shard that loses its session logs in again within seconds, and a pause ends; neither takes the hours that the clock went back."""
    async with world.process("personaplex:a", shards=2) as one:
        await world.advance(20)
        await one.cluster.login_turn(0, 1)
        one.cluster.slots.report("personaplex:a", 1, 15.0)
        await world.beat()
        assert one.cluster.slots.paused_s("personaplex:a") == pytest.approx(15.0)
        world.now -= 7200
        await world.advance(10)
        assert await one.cluster.login_turn(0, 1) <= LOGIN_SPACING_S
        assert one.cluster.slots.paused_s("personaplex:a") == 0
        assert all(shard.moved_at <= world.now for shard in one.cluster.snapshot.shards.values())


async def test_the_server_ends_a_transaction_that_stops_in_the_middle(world: World) -> None:
    """A process that is frozen while it holds the lock does not keep the others from beating for longer than a second."""
    rows = WorldRows(world, lambda _: None)
    async with rows.transaction() as transaction:
        settings = await transaction._connection.fetch("SELECT name, setting FROM pg_settings WHERE name LIKE '%\\_timeout'")
    await rows.close()
    assert {"idle_in_transaction_session_timeout": "1000", "statement_timeout": "1500"}.items() <= dict(settings).items()


async def test_a_goodbye_without_a_database_does_not_wait(world: World) -> None:
    """The others take what it had when it has lapsed."""
    async with world.process(shards=2) as one:
        world.away = True
        await one.end()
    world.away = False
    async with world.process() as two:
        await world.advance(4)
        assert two.cluster.shards == frozenset()
        await world.advance(6)
        assert two.cluster.shards == {0, 1}


async def test_a_fault_of_ours_in_a_beat_is_logged_and_the_next_one_tried(world: World) -> None:
    """The process lives, and what it holds stays."""
    async with world.process(shards=2) as one:
        one.cluster.is_busy = {0: False}.__getitem__
        await world.advance(3)
        assert [one.cluster.connected, one.cluster.alive] == [False, True]
        one.cluster.is_busy = lambda _: False
        await world.advance(2)
        await until(lambda: one.cluster.connected)
        assert one.cluster.shards == {0, 1}


async def test_a_fault_in_what_follows_a_beat_ends_no_beats(world: World) -> None:
    """A process that stopped to beat would lose its shards, and handle no event any more."""
    async with world.process(shards=2) as one:

        def fail() -> None:
            raise ZeroDivisionError

        one.cluster.on_change = fail
        with capture_logs() as logs:
            async with world.process():
                assert not one.beating.done()
                await world.advance(20)
        assert [line for line in logs if line["event"] == "cluster change failed"]
        assert one.cluster.alive


async def test_columns_of_a_newer_version_are_left_alone(world: World, sql: Callable[[], Sql]) -> None:
    """While a fleet is upgraded, processes of both versions use the same tables."""
    async with sql() as other:
        await other("ALTER TABLE cluster_members ADD COLUMN mood TEXT NOT NULL DEFAULT 'good'")
        await other("ALTER TABLE cluster_slots ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")
        await other.commit()
    async with world.process(A, shards=1) as one:
        assert one.cluster.connected
        async with sql() as other:
            assert await other("SELECT mood, colour FROM cluster_members, cluster_slots") == [("good", "blue")]


# The number of shards, and logins


async def test_who_joins_takes_the_number_of_shards_of_the_others(world: World) -> None:
    """And does not ask Discord."""
    async with world.process(shards=3), world.process() as two:

        async def ask() -> int:
            raise AssertionError

        assert await two.cluster.shard_count(ask, BOT) == 3


async def test_processes_that_ask_at_the_same_time_get_one_number_that_stays(world: World) -> None:
    """Also when the one whose number it is ends first: the other one's shards have calls."""
    async with world.process() as one, world.process() as two:
        asked: list[int] = []

        async def ask(number: int) -> int:
            asked.append(number)
            while len(asked) < 2:  # noqa: ASYNC110 - until the other one asks, too
                await asyncio.sleep(0)
            return number

        ours, theirs = await asyncio.gather(one.cluster.shard_count(lambda: ask(2), BOT), two.cluster.shard_count(lambda: ask(4), BOT))
        assert ours == theirs
        first, second = (one, two) if ours == 2 else (two, one)
        await first.end()
        await world.advance(20)
        assert len(second.cluster.snapshot.shards) == ours


async def test_who_comes_after_a_crash_waits_until_the_dead_are_known(world: World) -> None:
    """Then it is alone, and divides the bot anew."""
    async with world.process(shards=3) as one:
        await one.kill()
    async with world.process() as two:
        counting = asyncio.create_task(two.cluster.shard_count(lambda: answer(5), BOT))
        await world.advance(5)
        assert not counting.done() or counting.result() == 3
        await world.advance(5)
        await until(counting.done)
        await world.beat()
        assert two.cluster.shards == frozenset(range(counting.result()))


async def test_logins_of_all_processes_take_turns(world: World) -> None:
    """A turn is kept; without the database a process goes by what it knows."""
    async with world.process(shards=2) as one, world.process() as two:
        await world.advance(20)
        (mine,), (yours,) = one.cluster.shards, two.cluster.shards
        assert await one.cluster.login_turn(mine, 1) == 0
        assert await two.cluster.login_turn(yours, 1) == pytest.approx(LOGIN_SPACING_S)
        assert await two.cluster.login_turn(yours, 1) == pytest.approx(LOGIN_SPACING_S)
        await world.advance(20)
        assert await one.cluster.login_turn(mine, 2) == await two.cluster.login_turn(yours, 2) == 0
        world.away = True
        one.clock.stand_still(0.5)
        turn = asyncio.create_task(one.cluster.login_turn(mine, 1))
        await one.clock.advance(1)
        assert 0 < await turn < LOGIN_SPACING_S


# Engine slots and the queue


async def test_a_slot_that_no_call_takes_goes_to_somebody_else(world: World) -> None:
    """Its guild is passed over for a while."""
    async with world.process(A) as one, world.process(A) as two:
        one.wish(1)
        await one.cluster.beat()
        two.wish(2)
        await two.cluster.beat()
        assert one.cluster.slots.may_take(A, "call")
        assert two.cluster.slots.is_elsewhere(A)
        await world.advance(1)
        assert not one.cluster.slots.may_take(A, "call")
        assert two.cluster.slots.may_take(A, "call")
        assert not two.cluster.slots.is_elsewhere(A)


async def test_a_slot_of_somebody_who_has_gone_is_given_back_at_once(world: World) -> None:
    """No time passes."""
    async with world.process(A) as one, world.process(A) as two:
        one.wish(1)
        await one.cluster.beat()
        two.wish(2)
        await two.cluster.beat()
        one.wish()
        await one.cluster.beat()
        await until(lambda: two.cluster.slots.may_take(A, "call"))


async def test_a_spare_is_asked_back_for_a_call_in_another_process(world: World) -> None:
    """Once; and the call has it when the conversation on it has ended."""
    async with world.process(A) as one, world.process(A) as two:
        one.cluster.slots.want("spare", "call 1", ("personaplex",))
        await one.cluster.slots.answered("spare", "call 1")
        assert one.cluster.slots.may_take(A, "spare")
        assert not one.cluster.slots.may_take(A, "call")
        user = User()
        one.cluster.slots.take(A, "spare", "call 1", user)
        await world.beat()
        two.wish(2)
        await two.cluster.beat()
        await until(lambda: user.said == ["asked back"])
        await world.advance(2)
        assert user.said == ["asked back"]
        one.cluster.slots.give_back(A)
        await one.cluster.beat()
        await until(lambda: two.cluster.slots.may_take(A, "call"))


async def test_a_spare_that_is_adopted_is_not_asked_back(world: World) -> None:
    """It is a call's slot from then on."""
    async with world.process(A) as one, world.process(A) as two:
        one.cluster.slots.want("spare", "call 1", ("personaplex",))
        await one.cluster.beat()
        user = User()
        one.cluster.slots.take(A, "spare", "call 1", user)
        one.cluster.slots.take(A, "call", "call 1", user)
        two.wish(2)
        await world.advance(3)
        assert user.said == []
        assert two.cluster.slots.is_elsewhere(A)


async def test_what_one_process_learns_of_a_server_all_know(world: World) -> None:
    """How often it failed, and for how long it is left alone."""
    async with world.process(A) as one, world.process(A) as two:
        one.cluster.slots.report(A, 2, 30.0)
        assert one.cluster.slots.paused_s(A) == 30
        await world.beat()
        await world.advance(10)
        assert two.cluster.slots.failures(A) == 2
        assert two.cluster.slots.paused_s(A) == pytest.approx(20, abs=1.1)
        two.cluster.slots.report(A, 0, 0.0)
        await world.advance(1)
        assert one.cluster.slots.failures(A) == one.cluster.slots.paused_s(A) == 0


async def test_a_wish_lapses(world: World) -> None:
    """Nobody else is kept from the slot by a call that has ended."""
    async with world.process(A) as one:
        one.cluster.slots.want("rescue", "call 1", ("personaplex",))
        await one.cluster.beat()
        assert one.cluster.slots.may_take(A, "rescue")
        await world.advance(4)
        assert not one.cluster.slots.may_take(A, "rescue")
        assert one.cluster.snapshot.slots[A].holder is None


@pytest.mark.parametrize("purpose", ["rescue", "spare"])
async def test_who_has_wished_for_longest_comes_first_whatever_its_process_is_called(world: World, purpose: SlotPurpose) -> None:
    """Calls that lost their engines, and those that ask for a spare one: over all processes, and also if a wish is repeated or changed."""
    preferred, any_kind = ("personaplex",), ("personaplex", "cascade")
    async with world.process(A) as one, world.process(A) as other:
        first, second = sorted((one, other), key=lambda process: process.cluster.member, reverse=True)
        await take(world, first, purpose, "before")
        asked = {"a": first, "b": second, "c": first, "d": second}
        for call, process in asked.items():
            process.cluster.slots.want(purpose, call, preferred)
            await world.beat()
            await world.advance(0.25)
        served = []
        last = first
        while asked:
            for call, process in asked.items():
                process.cluster.slots.want(purpose, call, any_kind if call == "a" else preferred)
            await world.beat()
            last.cluster.slots.give_back(A)
            await world.beat()
            await world.beat()  # whoever gets it has beaten before the other one gave it
            last = next(process for process in (first, second) if process.cluster.slots.may_take(A, purpose))
            number = last.cluster.snapshot.slots[A].guild_id or 0
            call = next(str(wisher) for (_, wisher), wish in last.cluster.slots._wishes.items() if wish.number == -number)
            last.cluster.slots.take(A, purpose, call, User())
            served.append(call)
            del asked[call]
        assert served == ["a", "b", "c", "d"]


async def take(world: World, process: Process, purpose: SlotPurpose, wisher: object) -> None:
    """It wants the slot A, gets it and uses it."""
    process.cluster.slots.want(purpose, wisher, ("personaplex",))
    await world.beat()
    assert process.cluster.slots.may_take(A, purpose)
    process.cluster.slots.take(A, purpose, wisher, User())


async def test_the_queue_of_the_others_is_known(world: World) -> None:
    """Who waits, which calls run, how long calls last; not those that can begin."""
    async with world.process(A) as one, world.process() as two:
        waiting = [WaitingChannel(guild, guild * 10, guild, guild, True, ("personaplex",)) for guild in (1, 2)]
        one.cluster.queue.publish(waiting, [GuildCall(3, 30, 99.0, 9.0), GuildCall(4, 40, 98.0, 8.0, lasts=False)])
        one.cluster.queue.ended(61.0)
        assert not one.cluster.queue.is_known(1, 10)
        await world.beat()
        assert one.cluster.queue.is_known(1, 10)
        assert one.cluster.queue.waiting_elsewhere == []
        assert two.cluster.queue.waiting_elsewhere == waiting[1:]
        assert {call.guild_id: call.lasts for call in two.cluster.queue.calls_elsewhere} == {3: True, 4: False}
        assert two.cluster.queue.lengths_s == [61.0]
        assert two.cluster.queue.now() < two.cluster.queue.now() == pytest.approx(world.now, abs=1)
        await one.end()
        await world.beat()
        assert two.cluster.queue.waiting_elsewhere == two.cluster.queue.calls_elsewhere == []
        assert two.cluster.queue.lengths_s == [61.0]


async def test_the_doctor_reads_the_rows(world: World, sql: Callable[[], Sql]) -> None:
    """And changes nothing: it makes no tables where there are none."""
    async with world.process(shards=2):
        async with sql() as other:
            await other("UPDATE cluster_members SET expires_at = extract(epoch FROM clock_timestamp()) + 3")
            await other.commit()
        (found,) = await check_cluster(ClusterConfig(url=world.url))
        assert found.says == "1 process lives: host:0 with 2 of 2 shards."
    async with sql() as other:
        await other("DROP TABLE cluster_members")
        await other.commit()
    (found,) = await check_cluster(ClusterConfig(url=world.url))
    assert found.says == "No process of the bot runs now."


@pytest.mark.parametrize(("mode", "connections"), [("transaction", 1), ("transaction", 3), ("session", 12)])
async def test_processes_may_meet_behind_a_pooler(world: World, make_pooler: MakePooler, mode: str, connections: int) -> None:
    """The lock is its transaction's, so nobody keeps it: a slot moves, a killed process is replaced, the rows are read without it."""
    world.url = await make_pooler(mode, connections=connections)
    async with world.process(A, shards=2) as one, world.process(A) as two:
        await world.advance(20)
        assert len(one.cluster.shards) == len(two.cluster.shards) == 1
        await take(world, two, "rescue", "call")
        one.cluster.slots.want("rescue", "other call", ("personaplex",))
        await world.beat()
        two.cluster.slots.give_back(A)
        await world.beat()
        await world.beat()
        assert one.cluster.slots.may_take(A, "rescue")
        rows = WorldRows(world, lambda _: None)
        assert (await rows.read()).members.keys() == {one.cluster.member, two.cluster.member}
        await rows.close()
        await two.kill()
        await world.advance(10)
        assert one.cluster.shards == {0, 1}


@pytest.mark.usefixtures("world")
async def test_no_person_is_in_any_row(sql: Callable[[], Sql]) -> None:
    """Servers and channels are; who asked is not."""
    async with sql() as other:
        columns = await other("SELECT column_name FROM information_schema.columns WHERE table_name LIKE 'cluster\\_%'")
    assert not [column for (column,) in columns if "user" in str(column) or "person" in str(column) or "asker" in str(column)]
