"""The one door: bounded, durable, in words."""

import asyncio
import logging
import os
import signal
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.loopback import timeouts
from discordplex.store import reasons
from discordplex.store.backends import SERVER_CONNECTIONS
from discordplex.store.database import BUSY_S, PATIENCE, PrioritySemaphore
from discordplex.store.records import GuildSettings, HourOfUse, Owner, QueueEntry, SavedPersona, TranscriptLine, UnfinishedNotice
from discordplex.store.store import Store, open_store
from discordplex.tasks import cancel_and_wait

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
SECRET = "my secret"
"""A name, since a traceback shows the lines of this file too."""

BOUND_S = 15.0
"""Long after every bound; who waits until here hangs."""


@pytest.fixture
async def hasty(url: str) -> AsyncIterator[Store]:
    """A store that waits for nobody for long."""
    async with open_store(url, busy_s=0.2 * timeouts.FACTOR) as opened:
        yield opened


@pytest.fixture
async def patient(url: str) -> AsyncIterator[Store]:
    """A store that waits long: what a busy machine needs for fifty at once is not the subject of a test."""
    async with open_store(url, busy_s=BOUND_S) as opened:
        yield opened


async def test_fifty_writers_at_once(patient: Store) -> None:
    """Every one of fifty changes to the same setting, and to fifty others, is there: none is lost between reading and writing."""

    def one_more(now: GuildSettings) -> GuildSettings:
        return replace(now, idle_minutes=(now.idle_minutes or 0) + 1).with_rule("role", now.idle_minutes or 0, allowed=True)

    await asyncio.gather(
        *(patient.guilds.change(1, one_more) for _ in range(50)), *(patient.guilds.change(n, one_more) for n in range(2, 52))
    )
    shared = await patient.guilds.get(1)
    assert (shared.idle_minutes, shared.allowed_roles) == (50, frozenset(range(50)))
    assert [(await patient.guilds.get(n)).idle_minutes for n in range(2, 52)] == [1] * 50


async def test_fifty_guilds_enter_the_queue_at_once(patient: Store) -> None:
    """Nobody is lost, nobody stands there twice, and readers meanwhile see whole places only."""
    entering = [patient.queue.enter(QueueEntry(n, n, n, NOON)) for n in range(50)]
    *_, seen = await asyncio.gather(*entering, *entering_again(patient), patient.queue.list())
    assert all(one == QueueEntry(one.guild_id, one.guild_id, one.guild_id, NOON) for one in seen)
    assert sorted(one.guild_id for one in await patient.queue.list()) == list(range(50))


def entering_again(patient: Store) -> list[Any]:
    return [patient.queue.enter(QueueEntry(n, n, n, NOON)) for n in range(50)]


async def test_a_locked_database_is_told_in_time(hasty: Store, sql: Callable[[], Any]) -> None:
    """While somebody else holds the lock every writer gets a sentence, however many there are; afterwards all goes on."""
    await hasty.people.opt_out(1)
    async with sql() as other:
        await other.lock()
        attempts = [hasty.people.opt_out(n) for n in range(2, 22)]
        answers = await timeouts.wait_for(asyncio.gather(*attempts, return_exceptions=True), BOUND_S)
    assert all(isinstance(answer, StoreError) for answer in answers)
    assert {str(answer).split(":")[0] for answer in answers} == {"Your wish not to be heard was not saved"}
    assert await hasty.people.opted_out() == {1}
    await hasty.people.opt_out(2)
    assert await hasty.people.opted_out() == {1, 2}


async def test_every_method_of_a_locked_store_raises_the_same(hasty: Store, sql: Callable[[], Any], url: str) -> None:
    """Whatever is asked of the store, the answer is a value (SQLite's readers pass a lock) or a StoreError, and never anything else."""
    reads = [
        hasty.guilds.get(1),
        hasty.people.get(1),
        hasty.people.opted_out(),
        hasty.personas.list(Owner("guild", 1)),
        hasty.personas.get(Owner("guild", 1), "x"),
        hasty.queue.list(),
        hasty.notices.list(),
        hasty.usage.list(0),
        hasty.transcripts.calls(1),
        hasty.transcripts.read(1, "a"),
        hasty.privacy.what_is_stored(1),
    ]
    writes = [
        hasty.guilds.change(1, lambda now: now),
        hasty.people.change(1, lambda now: now),
        hasty.people.opt_in(1),
        hasty.personas.delete(Owner("guild", 1), "x"),
        hasty.queue.leave(1, 1),
        hasty.transcripts.keep([TranscriptLine(1, "a", 1, NOON, "x")]),
        hasty.transcripts.delete(1),
        hasty.privacy.forget(1),
        hasty.privacy.forget_guild(1),
        hasty.notices.add(UnfinishedNotice(1, 1, 1, 1)),
        hasty.usage.add([HourOfUse(1, 1, 1)], since_hour=0),
    ]
    async with sql() as other:
        await other.lock()
        answers = await timeouts.wait_for(asyncio.gather(*reads, *writes, return_exceptions=True), BOUND_S)
    readers = 0 if url.startswith("sqlite") else len(reads) - 2  # the personas' table is not locked
    assert sum(isinstance(answer, StoreError) for answer in answers) >= readers + len(writes) - 1
    assert not [answer for answer in answers if isinstance(answer, BaseException) and not isinstance(answer, StoreError)]


@pytest.mark.parametrize("make_url", ["sqlite"], indirect=True)
async def test_readers_pass_a_lock(patient: Store, sql: Callable[[], Any]) -> None:
    """A backup that locks SQLite's file keeps writers out and not readers, however many writers wait meanwhile; then they go on."""
    await patient.people.opt_out(1)
    async with sql() as other:
        await other.lock()
        writers = [asyncio.ensure_future(patient.people.opt_out(n)) for n in range(2, 22)]
        await asyncio.sleep(0)
        assert await patient.people.opted_out() == {1}
        assert not any(writer.done() for writer in writers)
    await asyncio.gather(*writers)
    assert await patient.people.opted_out() == {*range(1, 22)}


async def test_a_wish_about_privacy_waits_for_no_other_writers(patient: Store) -> None:
    """With many transcripts, personas and settings on their way, it is saved after those that are in the middle of it, and no others."""
    done: list[str] = []

    async def noted(name: str, work: Awaitable[object]) -> None:
        await work
        done.append(name)

    await patient.guilds.change(1, lambda now: replace(now, transcripts=True))
    cook = [SavedPersona(Owner("person", 7), f"name {number}", Persona("v", "x" * 1000)) for number in range(100)]
    others = [noted("other", patient.transcripts.keep([TranscriptLine(1, "call", 1, NOON, "x" * 1000)] * 100)) for _ in range(10)]
    others += [noted("other", patient.guilds.change(number, lambda now: now)) for number in range(10)]
    running = [asyncio.ensure_future(one) for one in (*others, noted("other", patient.personas.save(*cook)))]
    await asyncio.sleep(0)
    wishes = [patient.people.opt_out(5), patient.people.opt_in(6), patient.privacy.forget(7), patient.transcripts.delete(2)]
    await asyncio.gather(*(noted("wish", wish) for wish in wishes), *running)
    # PostgreSQL's server may finish those that it has begun before or after.
    assert "wish" in done[: SERVER_CONNECTIONS + 1]
    assert done.index("wish") + len(done) - done[::-1].index("wish") <= 2 * (SERVER_CONNECTIONS + len(wishes))


async def test_a_wish_passes_an_import_that_hangs(store: Store, sql: Callable[[], Any], url: str) -> None:
    """PostgreSQL: however many personas wait for a lock, there is a connection left for it."""
    if url.startswith("sqlite"):
        return  # has one writer, so that nothing else can hang in the middle of the database
    cook = SavedPersona(Owner("person", 7), "Cook", Persona("v", "x"))
    async with sql() as other:
        await other("LOCK TABLE personas IN ACCESS EXCLUSIVE MODE")
        imports = [asyncio.ensure_future(store.personas.save(cook)) for _ in range(20)]
        await asyncio.sleep(0.05)
        await store.people.opt_out(5)
        assert not any(one.done() for one in imports)
    await asyncio.gather(*imports, return_exceptions=True)
    assert await store.people.opted_out() == {5}


def test_nobody_waits_long() -> None:
    """The bound that people feel: three seconds, queueing for one's turn included."""
    assert BUSY_S * PATIENCE <= 3


async def test_a_caller_who_gave_up_breaks_nothing(store: Store) -> None:
    """Cancelled callers leave no lock held and no half of a change behind."""
    calls = [
        asyncio.ensure_future(store.guilds.change(1, lambda now: replace(now, idle_minutes=(now.idle_minutes or 0) + 1))) for _ in range(9)
    ]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [n % 2 == 0 for n in range(9)]
    assert ((await store.guilds.get(1)).idle_minutes or 0) >= 4
    await store.guilds.change(1, lambda now: replace(now, idle_minutes=None))


async def test_a_closed_store_says_so(url: str) -> None:
    """Who asks after the end gets a sentence."""
    async with open_store(url) as store:
        pass
    with pytest.raises(StoreError, match=r"^The setting was not saved: the bot is stopping\.$") as caught:
        await store.guilds.change(1, lambda now: now)
    assert caught.value.retry, "nothing is wrong with the setting"


async def test_closing_finishes_what_runs(url: str) -> None:
    """A change on its way when the store closes is there afterwards, and its caller knows."""
    async with open_store(url) as store:
        call = asyncio.ensure_future(store.people.opt_out(5))
        await asyncio.sleep(0)
    await call
    async with open_store(url) as store:
        assert await store.people.opted_out() == {5}


async def test_what_no_database_takes(store: Store) -> None:
    """A number that is too large, half a character: a sentence, and the store goes on."""
    for change in (lambda now: replace(now, idle_minutes=2**70), lambda now: replace(now, choice=replace(now.choice, voice="\ud800"))):
        with pytest.raises(StoreError, match=r"^The setting was not saved: .*does not accept\.$"):
            await store.guilds.change(1, change)
    assert await store.guilds.get(1) == GuildSettings(1)


async def test_a_fault_holds_no_speech(store: Store, sql: Callable[[], Any]) -> None:
    """Neither the sentence nor the exception behind it, as a traceback would show it, has what was to be stored in it."""
    await store.guilds.change(1, lambda now: replace(now, transcripts=True))
    async with sql() as other:
        await other("DROP TABLE transcripts")
        await other.commit()
    faults: list[str] = []

    def noted(fault: BaseException) -> str:
        faults.append("".join(traceback.format_exception(type(fault), fault, fault.__traceback__)))
        return reasons.reason(fault)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("discordplex.store.database.reason", noted)
        with pytest.raises(StoreError) as caught:
            await store.transcripts.keep([TranscriptLine(1, "call", 1, NOON, SECRET)])
    assert "INSERT INTO transcripts" in faults[0]
    assert SECRET not in faults[0] + "".join(traceback.format_exception(caught.type, caught.value, caught.tb))


async def test_a_commit_that_hangs_is_owned_up_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether it was saved: the sentence says "as far as we know"; before the commit it is certain that nothing was."""
    async with open_store(url, busy_s=0.2) as store:
        hang = asyncio.Event()

        async def hanging(*_: object) -> None:
            await hang.wait()

        with monkeypatch.context() as patch:
            patch.setattr(AsyncConnection, "commit", hanging)
            with pytest.raises(StoreError, match=r"not saved, as far as we know: the database did not answer in time\.$"):
                await store.people.opt_out(1)
        with monkeypatch.context() as patch:
            patch.setattr(AsyncConnection, "execute", hanging)
            with pytest.raises(StoreError, match=r"not saved: the database did not answer in time\.$"):
                await store.people.opt_out(1)


async def test_logs_hold_no_speech(store: Store, sql: Callable[[], Any], caplog: pytest.LogCaptureFixture) -> None:
    """Neither what is stored nor what failed to be stored is in any log line, at any level of any library."""
    caplog.set_level(logging.DEBUG)
    with capture_logs() as lines:
        await store.guilds.change(1, lambda now: replace(now, transcripts=True))
        await store.transcripts.keep([TranscriptLine(1, "call", 1, NOON, "my secret")])
        async with sql() as other:
            await other("ALTER TABLE transcripts RENAME COLUMN text TO gone")
            await other.commit()
        with pytest.raises(StoreError, match=r"^The transcript was not saved: the database refused\.$") as caught:
            await store.transcripts.keep([TranscriptLine(1, "call", 1, NOON, "my secret")])
    assert lines
    assert "my secret" not in caplog.text + str(lines) + repr(caught.value.__cause__)


@pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)
async def test_a_connection_that_died_in_the_pool_costs_nothing(store: Store, sql: Callable[[], Any]) -> None:
    """A server that dropped us in the meantime, as when it was restarted, is connected to again before a setting goes out."""
    await store.people.opt_out(1)
    async with sql() as other:
        await other("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()")
    await store.people.opt_out(2)
    assert await store.people.opted_out() == {1, 2}


@pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)
async def test_a_connection_that_dies_in_the_middle_is_told(store: Store, sql: Callable[[], Any]) -> None:
    """A change whose connection the server cuts while it waits is not saved, and its caller is told so."""
    async with sql() as other:
        await other.lock()
        call = asyncio.ensure_future(store.people.opt_out(1))
        waiting = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not await other(f"SELECT pg_terminate_backend(pid) {waiting}"):
            pass
        with pytest.raises(StoreError, match=r"^Your wish not to be heard was not saved: .+\.$"):
            await call
    assert await store.people.opted_out() == frozenset()


@pytest.mark.parametrize("make_url", ["postgresql"], indirect=True)
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a system that can stop a process")
async def test_a_server_that_stands_still_holds_nobody_up(url: str, sql: Callable[[], Any]) -> None:
    """When the server freezes under an open store, every caller is told in time, and the store closes all the same."""
    others = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
    frozen: list[int] = []
    try:
        async with sql() as other, open_store(url, busy_s=0.2) as store:
            await store.people.opt_out(1)
            frozen += [int(str(row[0])) for row in await other(others)]
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            calls = [store.people.opt_out(2), store.people.opted_out(), store.people.opt_out(3)]
            answers = await timeouts.wait_for(asyncio.gather(*calls, return_exceptions=True), BOUND_S)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert frozen
    assert isinstance(answers[0], StoreError)
    assert str(answers[0]) == "Your wish not to be heard was not saved: the database did not answer in time."


class Work:
    """Pieces of work that end when they are told to."""

    def __init__(self, places: int, reserved: int) -> None:
        self.turns = PrioritySemaphore(places, reserved=reserved)
        self.begun: list[str] = []
        self.running: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def ask(self, name: str) -> None:
        self.tasks[name] = asyncio.create_task(self._work(name))

    async def _work(self, name: str) -> None:
        async with self.turns.turn(urgent=name.startswith("u")):
            self.begun.append(name)
            self.running[name] = asyncio.Event()
            try:
                await self.running[name].wait()
            finally:
                del self.running[name]

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_urgent_work_waits_for_one_transaction_and_not_for_the_queue() -> None:
    """With one place: after the one that runs, whoever is urgent, in their order, then the others in theirs."""
    work = Work(1, 0)
    for name in ("o1", "o2", "o3", "u1", "u2"):
        work.ask(name)
        await work.settle()
    for _ in range(5):
        assert len(work.running) == 1
        work.running[work.begun[-1]].set()
        await work.settle()
    assert work.begun == ["o1", "u1", "u2", "o2", "o3"]


async def test_a_place_is_kept_free_for_urgent_work() -> None:
    """With several: ordinary work never takes the last one."""
    work = Work(3, 1)
    for name in ("o1", "o2", "o3", "u1"):
        work.ask(name)
    await work.settle()
    assert work.begun == ["o1", "o2", "u1"]
    await cancel_and_wait(*work.tasks.values())


@given(
    places=st.integers(1, 4),
    steps=st.lists(st.sampled_from(["ask u", "ask o", "end", "cancel first", "cancel last"]), max_size=40),
)
def test_no_place_is_lost_and_none_is_made(places: int, steps: Sequence[str]) -> None:
    """Whoever comes, ends, or is cancelled while it waits or works: never more than the places, and nobody waits beside a free one."""

    async def check() -> None:
        reserved = places - 1 if places > 1 else 0
        work = Work(places, reserved)
        for number, step in enumerate(steps):
            if step.startswith("ask"):
                work.ask(f"{step[-1]}{number}")
            elif step == "end" and work.running:
                next(iter(work.running.values())).set()
            elif step.startswith("cancel"):
                alive = [task for task in work.tasks.values() if not task.done()]
                if alive:
                    alive[0 if step.endswith("first") else -1].cancel()
            await work.settle()
            assert len(work.running) <= places
            assert sum(name.startswith("o") for name in work.running) <= places - reserved
        while work.running:
            next(iter(work.running.values())).set()
            await work.settle()
        assert all(task.done() for task in work.tasks.values())

    asyncio.run(check())


@pytest.mark.parametrize("urgent", [False, True])
async def test_what_fails_gives_its_place_back(*, urgent: bool) -> None:
    """As an ordinary lock does."""
    turns = PrioritySemaphore(1)
    for _ in range(3):
        with pytest.raises(KeyError):
            async with turns.turn(urgent=urgent):
                raise KeyError
