"""The line below a voice channel's name."""

import asyncio

import pytest

from discordplex.bot.call.voice_status import INTERVAL_S, VoiceStatus
from discordplex.bot.place import Place
from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock, settle
from tests.bot.fakes import ScriptedVoiceChannel


@pytest.fixture
def voice_channel() -> ScriptedVoiceChannel:
    return ScriptedVoiceChannel(Place(1, 11), None)


async def test_it_changes_no_oftener_than_it_may(voice_channel: ScriptedVoiceChannel, clock: FakeClock) -> None:
    """The first wish at once, the newest of the later ones when it is time, nothing for the same again; at the end it is empty."""
    status = VoiceStatus(clock)
    status.show(voice_channel, "listening")
    await settle()
    assert voice_channel.statuses == ["listening"]
    for number in range(5):
        status.show(voice_channel, f"busy, {number} waiting")
    await clock.advance(INTERVAL_S - 0.1)
    assert voice_channel.statuses == ["listening"]
    await clock.advance(0.2)
    assert voice_channel.statuses == ["listening", "busy, 4 waiting"]
    await clock.advance(10 * INTERVAL_S)
    status.show(voice_channel, "busy, 4 waiting")
    await clock.advance(10 * INTERVAL_S)
    assert len(voice_channel.statuses) == 2
    await status.clear()
    await status.clear()
    assert voice_channel.statuses == ["listening", "busy, 4 waiting", None]


async def test_a_wish_that_has_passed_is_not_shown(voice_channel: ScriptedVoiceChannel, clock: FakeClock) -> None:
    """Back to what stands there: nothing is written."""
    status = VoiceStatus(clock)
    status.show(voice_channel, "listening")
    await settle()
    status.show(voice_channel, "busy, 1 waiting")
    status.show(voice_channel, "listening")
    await clock.advance(3 * INTERVAL_S)
    assert voice_channel.statuses == ["listening"]
    await status.clear()


async def test_without_the_permission_nothing_is_tried(voice_channel: ScriptedVoiceChannel, clock: FakeClock) -> None:
    """Neither writing nor clearing."""
    voice_channel.may_set_status = False
    status = VoiceStatus(clock)
    status.show(voice_channel, "listening")
    await clock.advance(INTERVAL_S)
    await status.clear()
    assert voice_channel.statuses == []


async def test_a_failure_costs_one_line(voice_channel: ScriptedVoiceChannel, clock: FakeClock) -> None:
    """It is not tried again and again; the next change is, in its turn, and the line is cleared since it may stand there."""
    voice_channel.status_faults = [OSError()]
    status = VoiceStatus(clock)
    status.show(voice_channel, "listening")
    await settle()
    status.show(voice_channel, "busy, 1 waiting")
    await clock.advance(INTERVAL_S)
    assert voice_channel.statuses == ["busy, 1 waiting"]
    await status.clear()
    assert voice_channel.statuses[-1] is None


async def test_a_discord_that_hangs_keeps_nobody(
    voice_channel: ScriptedVoiceChannel, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being written is cancelled, clearing is tried once and given up, and no task is left."""
    asked: list[str | None] = []
    cancelled: list[str | None] = []

    async def hang(text: str | None) -> None:
        asked.append(text)
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(text)

    monkeypatch.setattr("discordplex.bot.call.voice_status.CLEAR_S", 0.01)
    monkeypatch.setattr(voice_channel, "set_status", hang)
    status = VoiceStatus(clock)
    status.show(voice_channel, "listening")
    await settle()
    assert (asked, cancelled) == (["listening"], [])
    await timeouts.wait_for(status.clear(), 5)
    assert asked == cancelled == ["listening", None]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("voice status:")]
