"""Whom a call hears: nobody who opted out, no bots, and nobody of whom one does not know that yet."""

import pytest

from discordplex.bot.call.hearing import CallHearing
from discordplex.bot.place import Place
from discordplex.config import BotConfig, Config
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from tests.bot.fakes import ConfiguredPreferences, NotedLink, ScriptedVoiceChannel

ANNA, BERT, ROBOT, STRANGER = 100, 200, 300, 400


def ears_of(clock: FakeClock, setting: BotConfig | None = None) -> tuple[CallHearing, ConfiguredPreferences]:
    preferences = ConfiguredPreferences(Config(bot=setting or BotConfig()))
    return CallHearing(preferences=preferences, clock=clock, metrics=Metrics()), preferences


@pytest.fixture
def voice_channel() -> ScriptedVoiceChannel:
    return ScriptedVoiceChannel(Place(1, 11), None, people=frozenset({ANNA, BERT}), bots=frozenset({ROBOT}))


def test_bots_are_dropped_unless_the_setting_says_otherwise(clock: FakeClock, voice_channel: ScriptedVoiceChannel) -> None:
    """From the first packet on: the connection is told before it has heard anything."""
    for hear_bots, expected in ((False, {ROBOT}), (True, set())):
        ears, _ = ears_of(clock, BotConfig(hear_bots=hear_bots))
        line = NotedLink(ANNA, BERT, ROBOT)
        ears.attach(line, voice_channel)
        assert line.ignored == expected


def test_who_opts_out_is_dropped_at_once_and_what_waits_of_theirs_too(clock: FakeClock, voice_channel: ScriptedVoiceChannel) -> None:
    """Who takes it back is heard again."""
    ears, preferences = ears_of(clock)
    line = NotedLink(ANNA, BERT)
    ears.attach(line, voice_channel)
    ears.sink.write(bytes(3840 * 2), ANNA)
    preferences.opted_out = frozenset({ANNA})
    ears.refresh(voice_channel)
    assert line.ignored == {ANNA, ROBOT}
    ears.sink.write(bytes(3840 * 2), ANNA)
    assert ears.sink.take() == {}
    preferences.opted_out = frozenset()
    ears.refresh(voice_channel)
    assert line.ignored == {ROBOT}


def test_who_is_not_known_yet_is_not_heard_yet(clock: FakeClock, voice_channel: ScriptedVoiceChannel) -> None:
    """The voice server may tell of somebody before the gateway says whether that is a bot."""
    ears, _ = ears_of(clock)
    line = NotedLink(ANNA, BERT, STRANGER)
    ears.attach(line, voice_channel)
    assert STRANGER in line.ignored
    voice_channel.people |= {STRANGER}
    ears.refresh(voice_channel)
    assert STRANGER not in line.ignored


def test_while_stopped_nothing_is_kept(clock: FakeClock, voice_channel: ScriptedVoiceChannel) -> None:
    """`/stop` empties what was heard and not taken, nothing is kept while it lasts, and the opt-outs of before hold after it."""
    ears, preferences = ears_of(clock)
    preferences.opted_out = frozenset({BERT})
    line = NotedLink(ANNA, BERT)
    ears.attach(line, voice_channel)
    ears.sink.write(bytes(3840 * 2), ANNA)
    ears.deafen(deaf=True)
    assert ears.sink.take() == {}
    ears.refresh(voice_channel)
    ears.sink.write(bytes(3840 * 2), ANNA)
    assert ears.sink.take() == {}
    ears.deafen(deaf=False)
    for speaker in (ANNA, BERT):
        ears.sink.write(bytes(3840 * 2), speaker)
    assert set(ears.sink.take()) == {ANNA}


def test_deafness_lasts_over_a_connection_and_is_no_idleness(clock: FakeClock, voice_channel: ScriptedVoiceChannel) -> None:
    """A call that is stopped before it has entered is deaf from the start; when it goes on, the silence is counted anew."""
    ears, _ = ears_of(clock)
    ears.deafen(deaf=True)
    line = NotedLink(ANNA)
    ears.attach(line, voice_channel)
    wishes = [line.deaf]
    ears.deafen(deaf=False)
    assert [*wishes, line.deaf] == [True, False]
    assert ears.gate.quiet_s == 0.0


def test_the_noise_gate_follows_the_rules(clock: FakeClock, voice_channel: ScriptedVoiceChannel) -> None:
    """Off unless the setting says so."""
    for noise_gate in (False, True):
        ears, _ = ears_of(clock, BotConfig(noise_gate=noise_gate))
        ears.refresh(voice_channel)
        assert ears.gate.noise_gate == noise_gate
