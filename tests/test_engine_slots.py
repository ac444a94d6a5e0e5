"""The slots of one process, and what providers promise of theirs."""

from discordplex.engine_slots import EngineSlots, OwnSlots
from discordplex.loopback.clock import FakeClock


async def test_a_process_of_its_own_may_take_every_slot_and_remembers_which_ones_failed() -> None:
    """Nothing has to be wanted, and a pause ends by itself or when the slot has served."""
    clock = FakeClock()
    slots: EngineSlots = OwnSlots(clock)
    assert not slots.shared
    assert slots.may_take("cascade:1", "spare")
    assert not slots.is_elsewhere("cascade:1")
    assert not slots.may_be_busy("cascade:1")
    slots.report("cascade:1", 2, 8.0)
    assert (slots.failures("cascade:1"), slots.paused_s("cascade:1"), slots.paused_s("cascade:2")) == (2, 8.0, 0.0)
    await clock.advance(8.0)
    assert (slots.failures("cascade:1"), slots.paused_s("cascade:1")) == (2, 0.0)
    slots.report("cascade:1", 3, 16.0)
    slots.report("cascade:1", 0, 0.0)
    assert (slots.failures("cascade:1"), slots.paused_s("cascade:1")) == (0, 0.0)
