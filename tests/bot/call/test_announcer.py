"""What a call says about its engine: only what is so, once, in one message for each time the engine is late or away."""

from typing import Any, cast

import pytest

from discordplex.bot import texts
from discordplex.bot.call.announcer import Announcer
from discordplex.bot.call.disclosure import Disclosure
from discordplex.bot.call.state import CallState
from discordplex.bot.chat.notices import Notices
from discordplex.bot.place import Place
from discordplex.engine import Persona
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from tests.bot.fakes import FakeChannel, ScriptedVoiceChannel

ADA, PIRATE = Persona("NATF0.pt", "You are Ada."), Persona("NATM1.pt", "You are a pirate.")
LOST = "Nobody answers."


class Told:
    """An announcer and what people read of it in the end."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.channel = FakeChannel(clock)
        self.notices = Notices(clock=clock, metrics=Metrics())
        voice_channel = ScriptedVoiceChannel(Place(1, 11), self.channel)
        self.state = CallState(number=1, voice_channel=cast("Any", voice_channel), engine="PersonaPlex", transcribes=False, persona=ADA)
        self.announcer = Announcer(self.state, self.notices, Disclosure(self.notices, 1))

    async def texts(self) -> list[str]:
        await self.clock.advance(60)
        return self.channel.texts

    async def close(self) -> None:
        await self.notices.close()


async def play(told: Told, steps: str) -> list[str]:
    """l: listens, f: an engine is lost, b: back, s: opens slowly."""
    acts = {
        "l": told.announcer.listens,
        "f": lambda: told.announcer.engine_lost(LOST),
        "b": told.announcer.engine_back,
        "s": told.announcer.still_opening,
    }
    for step in steps:
        acts[step]()
        await told.clock.advance(5)
    texts = await told.texts()
    await told.close()
    return [text for text in texts if "I am listening" not in text]


CASES = [
    ("l", []),
    ("s", [texts.calls.STILL_OPENING]),
    ("sl", [texts.calls.ENGINE_READY]),
    ("f", [texts.calls.engine_lost(LOST)]),
    ("fl", [texts.calls.engine_ready(LOST)]),
    ("fsl", [texts.calls.engine_ready(LOST)]),
    ("sfl", [texts.calls.engine_ready(LOST)]),
    ("lfb", [texts.calls.engine_back(LOST)]),
    ("lfbf", [texts.calls.engine_back(LOST), texts.calls.engine_lost(LOST)]),
    ("lfbfb", [texts.calls.engine_back(LOST)] * 2),
    ("l" + 9 * "fb", [texts.calls.engine_back(LOST)] * 4),
    ("lsb", [texts.calls.ENGINE_READY]),
    ("lsbsb", [texts.calls.ENGINE_READY] * 2),
    ("flfb", [texts.calls.engine_ready(LOST), texts.calls.engine_back(LOST)]),
]


@pytest.mark.parametrize(("steps", "expected"), CASES)
async def test_what_is_said_about_the_engine(clock: FakeClock, steps: str, expected: list[str]) -> None:
    """That it is here again only where it was there before; a late one is told, and the message says in the end that it came."""
    assert await play(Told(clock), steps) == expected


async def test_no_voice_and_no_role_is_named_where_the_engine_keeps_its_own(clock: FakeClock) -> None:
    """Neither in the greeting, before and after it is known, nor when people change them."""
    told = Told(clock)
    told.announcer.greet()
    assert ADA.voice not in " ".join(await told.texts())
    told.announcer.listens()
    assert ADA.voice in " ".join(await told.texts())
    told.state.keeps_persona = True
    told.announcer.greet()
    told.state.persona = PIRATE
    told.announcer.changes()
    told.announcer.changed()
    told_all = " ".join(await told.texts())
    assert not [word for word in (ADA.voice, ADA.text_prompt, PIRATE.voice, PIRATE.text_prompt) if word in told_all]
    assert texts.calls.PERSONA_KEPT in told_all
    await told.close()


async def test_another_engine_may_take_the_persona(clock: FakeClock) -> None:
    """A call that goes on at another server names its persona there."""
    told = Told(clock)
    told.announcer.listens()
    told.state.keeps_persona = True
    told.announcer.greet()
    told.announcer.engine_lost(LOST)
    assert ADA.voice not in " ".join(await told.texts())
    told.state.keeps_persona = False
    told.announcer.engine_back(moved=True)
    assert ADA.voice in " ".join(await told.texts())
    await told.close()
