"""A call whose people opt out in its middle tells the engine to forget them, before and after the engine is there."""

import asyncio
from typing import Any, cast

from discordplex.bot.call.call import Call
from discordplex.bot.place import Place
from discordplex.config import Config
from discordplex.loopback.clock import FakeClock, settle
from discordplex.tasks import cancel_and_wait
from tests.bot.fakes import ConfiguredPreferences, ScriptedVoiceChannel, unconnected
from tests.bridge.scripted import ScriptedEngine, ScriptedLease, ScriptedLink

ANNA, BERT, CARA = 100, 200, 300


async def test_the_engine_forgets_who_opts_out_in_the_middle(clock: FakeClock) -> None:
    """Once for each person, also where they opted out before the engine was there; who opted out before the call is no news to it."""
    opening = asyncio.Event()

    async def open_slowly() -> None:
        await opening.wait()

    engine = ScriptedEngine(clock, on_open=open_slowly)
    preferences = ConfiguredPreferences(Config())
    preferences.opted_out = frozenset({CARA})
    context = unconnected(preferences, clock)
    voice_channel = ScriptedVoiceChannel(Place(1, 11), None, people=frozenset({ANNA, BERT}))
    call = Call(context=context, voice_channel=cast("Any", voice_channel), lease=ScriptedLease(engine), number=1, quiet=True)
    conversation = asyncio.create_task(call._conversation.run(sink=call._hearing.gate, link=ScriptedLink(ANNA, BERT), quiet=True))
    await settle()
    preferences.opted_out = frozenset({ANNA, CARA})
    call.refresh()
    await settle()
    opening.set()
    await settle()
    assert engine.forgotten == [ANNA]
    preferences.opted_out = frozenset({ANNA, BERT, CARA})
    call.refresh()
    call.refresh()
    await settle()
    assert engine.forgotten == [ANNA, BERT]
    await cancel_and_wait(conversation)
