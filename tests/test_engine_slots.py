"""The slots of one process, and what providers promise of theirs."""

from discordplex.engine_slots import EngineSlots, OwnSlots


async def test_a_process_of_its_own_may_take_every_slot_at_any_time() -> None:
    """Nothing has to be wanted, and no answer is waited for."""
    slots: EngineSlots = OwnSlots()
    assert not slots.shared
    assert slots.may_take("cascade:1", "spare")
    assert not slots.is_elsewhere("cascade:1")
    assert not slots.may_be_busy("cascade:1")
    slots.want("rescue", wisher := object(), ("cascade",))
    assert not slots.is_pending("rescue", wisher)
    await slots.answered("rescue", wisher)
