"""A call whose engines several processes share: what is free is known a moment after it was asked for."""

from collections.abc import Callable, Sequence

import pytest

from discordplex.bridge.events import Ended, EngineLost, HandedOver, Listening, Opening
from discordplex.engine import BUSY, STALLED, Audio, Closed, EngineCaps, SpareSlot
from discordplex.engine_slots import AskingLease, RevocableSlot
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock, settle
from tests.bridge.scripted import PreferredScriptedSlot, ReplaceableScriptedLease, ScriptedEngine, ScriptedSpare, pcm_of_ms
from tests.bridge.scripted_call import Call, failing

pytestmark = pytest.mark.usefixtures("nothing_is_left")

ANSWER_S = 0.005
FORGETFUL = EngineCaps(realtime_paced=True, memory_s=8)


class AskingScriptedLease(ReplaceableScriptedLease):
    """Its other engines can be had after they were asked for. An AskingLease."""

    def __init__(self, clock: FakeClock, *engines: ScriptedEngine, others: Sequence[ScriptedEngine] = ()) -> None:
        super().__init__(*engines, others=())
        self.clock = clock
        self.elsewhere = list(others)
        self.same_kind: list[ScriptedEngine] = []
        self.asked_for_spare = self.wanted = False
        self.awaits_spare = self.awaits_replacement = False

    async def find_another(self, *, of_any_kind: bool) -> bool:
        if not of_any_kind:
            return False
        await self.clock.sleep_until(self.clock.now() + ANSWER_S)
        if self.same_kind:
            self.waiting.clear()
            self.waiting.append(self.same_kind.pop())
            return True
        self.granted()
        return False

    def want_another(self, *, of_any_kind: bool) -> None:
        if of_any_kind and not self.wanted:
            self.wanted = self.awaits_replacement = True
            self.clock.call_at(self.clock.now() + ANSWER_S, self.granted)

    def granted(self) -> None:
        self.awaits_replacement = False
        self.others, self.elsewhere = [*self.others, *self.elsewhere], []

    def spare(self, lost: Callable[[], None]) -> ScriptedSpare | None:
        if not self.asked_for_spare:
            self.asked_for_spare = self.awaits_spare = True
            return None
        self.awaits_spare = False
        return super().spare(lost)


class RevocableScriptedSlot(PreferredScriptedSlot):
    """A RevocableSlot."""

    def __init__(self, lease: ReplaceableScriptedLease, engine: ScriptedEngine) -> None:
        super().__init__(lease, engine, lambda: None)
        self.on_taken_back: Callable[[], None] = lambda: None

    @property
    def is_over(self) -> bool:
        return self.given_back

    def take_back(self) -> None:
        self.on_taken_back()
        self.give_back()


def was_opened(engine: ScriptedEngine) -> bool:
    return engine.opened_at is not None


@pytest.mark.parametrize("lost", [Closed("It hangs.", cause=STALLED), Closed("It is full.", cause=BUSY), Closed("No.", retry=False)])
async def test_a_lost_engine_is_replaced_by_one_that_another_process_had(clock: FakeClock, lost: Closed) -> None:
    """Where another try cannot help, as soon as it is known that there is one."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    lease = AskingScriptedLease(clock, engine, others=[other])
    assert isinstance(lease, AskingLease)
    call = Call(clock, lease=lease)
    await call.start()
    engine.does(lost)
    await clock.advance(0.1)
    assert was_opened(other)
    assert [type(event).__name__ for event in call.told] == ["Opening", "Listening", "EngineReplaced", "EngineBack"]
    await call.cancel()


@pytest.mark.parametrize("lost", [Closed("It hangs.", cause=STALLED), Closed("Another process has it.", retry=False, cause=BUSY)])
async def test_another_server_of_the_same_kind_is_opened_at_once(clock: FakeClock, lost: Closed) -> None:
    """It is not told as a replacement; also for a server that another process has taken."""
    engine, second, other = (ScriptedEngine(clock) for _ in range(3))
    lease = AskingScriptedLease(clock, engine, others=[other])
    lease.same_kind = [second]
    call = Call(clock, lease=lease)
    await call.start()
    engine.does(lost)
    await clock.advance(0.1)
    assert (was_opened(second), was_opened(other)) == (True, False)
    assert call.told[2] == EngineLost(lost.reason, 0.0)
    await call.cancel()


async def test_where_nothing_is_granted_the_call_returns_to_the_queue(clock: FakeClock) -> None:
    """It has lost its server to another process; the reason is that there is none for it."""
    engine = ScriptedEngine(clock)
    call = Call(clock, lease=AskingScriptedLease(clock, engine))
    await call.start()
    engine.does(Closed("Another process has it.", retry=False, cause=BUSY))
    await clock.advance(0.1)
    assert call.task
    await call.task
    assert call.told[-1] == Ended("Another process has it.", busy=True)


async def test_an_engine_that_costs_nothing_is_waited_for_where_the_minutes_are_used_up(clock: FakeClock) -> None:
    """The first answer is that it is about to come; the second that it is there."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    lease = AskingScriptedLease(clock, engine, others=[other])
    call = Call(clock, lease=lease)
    await call.start()
    assert call.session.replace_engine("The minutes are used up.")
    await clock.advance(1.0)
    assert not was_opened(other)
    assert call.session.replace_engine("The minutes are used up.")
    await clock.advance(0.1)
    assert was_opened(other)
    lease.wanted = False
    asked = [call.session.replace_engine("Again.")]
    await clock.advance(1.0)
    asked.append(call.session.replace_engine("Again."))
    assert asked == [True, False]
    await call.cancel()


@pytest.mark.parametrize("has_spare", [True, False])
async def test_a_spare_slot_is_waited_for_before_a_conversation_is_renewed_in_place(clock: FakeClock, *, has_spare: bool) -> None:
    """Everybody is silent, so without one it would be renewed at once; it is, when the answer is that there is none."""
    first, second = (ScriptedEngine(clock, caps=FORGETFUL) for _ in range(2))
    lease = AskingScriptedLease(clock, first, second)
    lease.has_spare = has_spare
    call = Call(clock, lease=lease)
    await call.start()
    first.does(Audio(pcm_of_ms(80)))
    await settle()
    call.source.play(80)
    while not lease.asked_for_spare:
        await clock.advance(0.05)
    assert call.told == [Opening(), Listening()]
    await clock.advance(0.2)
    assert was_opened(second)
    assert (first.closed_at is not None) == (not has_spare)
    handed = [event for event in call.told if isinstance(event, HandedOver)]
    assert [event.in_place for event in handed] == ([] if has_spare else [True])
    await call.cancel()


async def test_a_slot_at_the_preferred_kind_that_is_taken_back_is_left(clock: FakeClock) -> None:
    """The call keeps the engine that it has; a slot that was taken back before is not used."""
    engine, preferred = ScriptedEngine(clock), ScriptedEngine(clock)
    lease = AskingScriptedLease(clock, engine)
    call = Call(clock, lease=lease)
    await call.start()
    call.sink.pause_s = 0.0
    slot = RevocableScriptedSlot(lease, preferred)
    assert isinstance(slot, RevocableSlot)
    assert call.session.hand_over_to(as_spare(slot))
    await clock.advance(0.2)
    assert was_opened(preferred)
    slot.take_back()
    await clock.advance(0.2)
    assert preferred.closed_at is not None
    assert (slot.given_back, engine.closed_at) == (True, None)
    assert not call.session.hand_over_to(as_spare(slot))
    await call.cancel()


def as_spare(slot: RevocableScriptedSlot) -> SpareSlot:
    return slot


async def test_a_call_that_waits_for_its_next_try_gets_what_becomes_free_meanwhile(clock: FakeClock) -> None:
    """It asks all the time, after one more try for an engine of another kind, too."""
    engine, other = ScriptedEngine(clock), ScriptedEngine(clock)
    refusal = EngineError("Nobody there.", retry=True)
    lease = AskingScriptedLease(clock, engine, *(ScriptedEngine(clock, on_open=failing(refusal)) for _ in range(9)))
    call = Call(clock, lease=lease)
    await call.start()
    engine.does(Closed("It died."))
    wanted = []
    for seconds in (0.5, 3.0):
        await clock.advance(seconds)
        wanted.append(lease.wanted)
    assert wanted == [False, True]
    lease.elsewhere, lease.wanted = [other], False
    await clock.advance(0.2)
    assert call.session.take_replacement()
    await clock.advance(0.1)
    assert was_opened(other)
    await call.cancel()
