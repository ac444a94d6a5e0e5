"""Whom a call hears follows from what the voice server says, before Discord's main gateway has said it."""

from typing import Any, cast

from discordplex.bot.call.call import Call
from discordplex.bot.place import Place
from discordplex.config import Config
from discordplex.loopback.clock import FakeClock
from discordplex.voice.events import PersonJoined
from tests.bot.fakes import ConfiguredPreferences, NotedLink, ScriptedVoiceChannel, unconnected
from tests.bridge.scripted import ScriptedEngine, ScriptedLease

ANNA, STRANGER = 100, 400


async def test_a_joiner_whom_only_the_voice_server_knows_is_not_heard(clock: FakeClock) -> None:
    """From the moment that it names them, until the gateway has said who they are; and not then either, where they opted out."""
    preferences = ConfiguredPreferences(Config())
    context = unconnected(preferences, clock)
    voice_channel = ScriptedVoiceChannel(Place(1, 11), None, people=frozenset({ANNA}))
    lease = ScriptedLease(ScriptedEngine(clock))
    call = Call(context=context, voice_channel=cast("Any", voice_channel), lease=lease, number=1, quiet=True)
    link = NotedLink(ANNA)
    call._hearing.attach(link, cast("Any", voice_channel))
    assert link.ignored == frozenset()
    link.people |= {STRANGER}
    call._on_voice_event(PersonJoined(STRANGER))
    assert link.ignored == {STRANGER}
    call._hearing.sink.write(bytes(3840 * 2), STRANGER)
    assert call._hearing.sink.take() == {}
    voice_channel.people |= {STRANGER}
    preferences.opted_out = frozenset({STRANGER})
    call.refresh()
    assert link.ignored == {STRANGER}
    preferences.opted_out = frozenset()
    call.refresh()
    assert link.ignored == frozenset()
