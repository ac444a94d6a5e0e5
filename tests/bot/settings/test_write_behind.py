"""Changes that are saved behind: in which order, and what becomes of each."""

import asyncio
from collections.abc import Callable

import pytest

from discordplex.bot.settings.write_behind import EVERYTHING, LONGEST_PAUSE_S, Key, Write, WriteBehind
from discordplex.errors import StoreError
from discordplex.loopback.clock import FakeClock
from discordplex.store.records import Owner, SaveStatus

ANNA, BERT = Owner("person", 100), Owner("person", 200)
AWAY = StoreError("It was not saved: the database is away.", retry=True)


class Behind:
    """What is saved, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self.saved: list[str] = []
        self.recovered = 0
        self.fault: Exception | None = None
        self.behind = WriteBehind(clock, self._recover)

    async def _recover(self) -> None:
        self.recovered += 1
        if self.fault:
            raise self.fault

    def write(self, name: str, gate: asyncio.Event | None = None, fault: Callable[[], Exception | None] = lambda: None) -> Write:
        async def save() -> bool:
            if gate:
                await gate.wait()
            problem = fault() or self.fault
            if problem:
                raise problem
            self.saved.append(name)
            return True

        return save

    def put(self, what: str, owner: Owner, *, urgent: bool = False, write: Write | None = None) -> "asyncio.Future[SaveStatus]":
        answer = self.behind.put(
            Key(what, owner), write or self.write(f"{what} {owner.id}"), lambda save_status: save_status, urgent=urgent
        )
        return asyncio.ensure_future(answer)


@pytest.fixture
def behind(clock: FakeClock) -> Behind:
    return Behind(clock)


async def test_a_wish_about_privacy_waits_for_no_other_change(behind: Behind) -> None:
    """Not even for one that is being saved and hangs."""
    gate = asyncio.Event()
    slow = [behind.put("personas", ANNA, write=behind.write("slow", gate)), behind.put("settings", BERT)]
    await asyncio.sleep(0)
    assert (await behind.put("heard", ANNA, urgent=True)).saved
    assert behind.saved == ["heard 100"]
    gate.set()
    await asyncio.gather(*slow)
    assert behind.saved == ["heard 100", "slow", "settings 200"]


async def test_a_deletion_comes_after_what_is_being_saved_and_before_what_comes_later(behind: Behind) -> None:
    """Of the same person; others do not wait."""
    gate, deleting = asyncio.Event(), asyncio.Event()
    answers = [behind.put("settings", ANNA, write=behind.write("first", gate))]
    await asyncio.sleep(0)
    answers.append(behind.put(EVERYTHING, ANNA, urgent=True, write=behind.write("deletion", deleting)))
    answers += [behind.put("personas", ANNA), behind.put("settings", BERT)]
    await asyncio.sleep(0)
    gate.set()
    await answers[3]
    assert behind.saved == ["first", "settings 200"]
    deleting.set()
    await asyncio.gather(*answers)
    assert behind.saved == ["first", "settings 200", "deletion", "personas 100"]


async def test_a_database_that_is_away(behind: Behind, clock: FakeClock) -> None:
    """It is tried again with growing pauses, opened anew before each try; who asks meanwhile is answered at once."""
    behind.fault = AWAY
    assert await behind.put("settings", ANNA) == SaveStatus(saved=False, why=str(AWAY))
    assert await behind.put("heard", ANNA, urgent=True) == SaveStatus(saved=False, why=str(AWAY))
    await clock.advance(10 * LONGEST_PAUSE_S)
    assert 10 < behind.recovered < 40
    behind.fault = None
    await clock.advance(LONGEST_PAUSE_S)
    assert sorted(behind.saved) == ["heard 100", "settings 100"]
    assert len(behind.behind) == 0
    assert await behind.put("settings", ANNA) == SaveStatus(saved=True)


async def test_a_change_that_the_database_refuses_for_now_keeps_no_other_from_it(behind: Behind, clock: FakeClock) -> None:
    """It goes to the end."""
    refused = behind.write("never", fault=lambda: AWAY)
    answers = [behind.put("settings", ANNA, write=refused), behind.put("settings", BERT)]
    await clock.advance(10)
    await asyncio.gather(*answers)
    assert behind.saved == ["settings 200"]
    assert len(behind.behind) == 1
    await behind.behind.close()


@pytest.mark.parametrize("fault", [StoreError("It was not saved: too many."), KeyError("a bug")])
async def test_a_change_that_can_never_be_saved(behind: Behind, fault: Exception) -> None:
    """Who asked gets the reason, nothing is tried again, and the next one is saved."""
    wrong = behind.put("settings", ANNA, write=behind.write("never", fault=lambda: fault))
    right = behind.put("settings", BERT)
    with pytest.raises(type(fault)):
        await wrong
    assert (await right).saved
    assert behind.saved == ["settings 200"]
    assert len(behind.behind) == 0


async def test_a_later_change_takes_the_place_of_an_earlier_one(behind: Behind) -> None:
    """Everybody who asked is answered by the one that is saved."""
    gate = asyncio.Event()
    blocking = behind.put("settings", BERT, write=behind.write("blocking", gate))
    await asyncio.sleep(0)
    answers = [behind.put("settings", ANNA, write=behind.write(f"{number}")) for number in range(3)]
    gate.set()
    await asyncio.gather(blocking, *answers)
    assert behind.saved == ["blocking", "2"]


async def test_the_end_waits_for_nothing_that_hangs(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asked is told, and nothing is left running."""
    monkeypatch.setattr("discordplex.bot.settings.write_behind.LAST_WRITES_S", 0.01)
    answer = behind.put("settings", ANNA, write=behind.write("never", asyncio.Event()))
    await asyncio.sleep(0)
    await behind.behind.close()
    assert not (await answer).saved
    assert "bot:write-behind" not in {task.get_name() for task in asyncio.all_tasks()}
