"""As whom the engine of a call speaks, and what people are told of that."""

import pytest

from discordplex.bot import texts
from discordplex.engine import Closed, Persona, PersonaIgnored
from discordplex.loopback.clock import FakeClock
from tests.bot.hall import hall
from tests.bridge.scripted import PERSONA

PIRATE = Persona("NATM1.pt", "You are a pirate.")


async def test_a_persona_that_people_choose_in_a_call_is_asked_of_the_next_engine(clock: FakeClock) -> None:
    """Its name replaces the other one's in the greeting, and /status tells it at once."""
    async with hall(clock, transcribes=False) as it:
        assert PERSONA.voice in it.greeting()
        it.call.restart(PIRATE)
        assert it.call.persona == PIRATE
        await clock.advance(5)
        assert it.lease.personas == [PERSONA, PIRATE]
        assert PIRATE.voice in it.greeting()
        assert PERSONA.voice not in it.greeting()
        assert texts.calls.changed(PIRATE) in it.posted


@pytest.mark.parametrize("moved", [False, True], ids=["same server", "another server"])
async def test_an_engine_that_keeps_its_persona(clock: FakeClock, *, moved: bool) -> None:
    """None is named while it is at that server; at another one the persona that was asked for is named again."""
    async with hall(clock, transcribes=False) as it:
        it.engine.does(PersonaIgnored())
        await clock.advance(3)
        assert PERSONA.voice not in it.greeting()
        assert it.call.persona is None
        it.lease.name = "other.example:8998" if moved else it.lease.name
        it.call.restart(PIRATE)
        await clock.advance(5)
        assert it.call.persona == (PIRATE if moved else None)
        assert (PIRATE.voice in it.greeting()) == moved
        assert (texts.calls.changed(PIRATE) in it.posted) == moved


@pytest.mark.parametrize("well", [False, True], ids=["nothing better", "another server"])
async def test_a_rescue_does_not_wait_for_the_next_try(clock: FakeClock, monkeypatch: pytest.MonkeyPatch, *, well: bool) -> None:
    """Where the lease finds a server that is well the engine there is opened at once; where none is, the pause goes on."""
    async with hall(clock, transcribes=False) as it:
        monkeypatch.setattr(it.lease, "relocate", lambda: False, raising=False)
        it.engine.does(Closed("Gone."))
        await clock.advance(0.05)
        assert it.call.lost_since is not None
        monkeypatch.setattr(it.lease, "relocate", lambda: well)
        assert it.call.rescue() == well
        await clock.advance(0.05)
        assert (it.next_engine.opened_at is not None) == well
