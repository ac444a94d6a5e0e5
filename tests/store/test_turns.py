"""Who may use the database next."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.store.turns import PrioritySemaphore


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
    for task in work.tasks.values():
        task.cancel()
    await asyncio.gather(*work.tasks.values(), return_exceptions=True)


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
