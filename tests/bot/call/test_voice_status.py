"""The line below a voice channel's name."""

import asyncio

import pytest

from discordplex.bot.call.voice_status import INTERVAL_S, VoiceStatus
from discordplex.bot.place import Place
from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock, settle
from tests.bot.fakes import ScriptedRoom


@pytest.fixture
def room() -> ScriptedRoom:
    return ScriptedRoom(Place(1, 11), None)


async def test_it_changes_no_oftener_than_it_may(room: ScriptedRoom, clock: FakeClock) -> None:
    """The first wish at once, the newest of the later ones when it is time, nothing for the same again; at the end it is empty."""
    status = VoiceStatus(clock)
    status.show(room, "listening")
    await settle()
    assert room.statuses == ["listening"]
    for number in range(5):
        status.show(room, f"busy, {number} waiting")
    await clock.advance(INTERVAL_S - 0.1)
    assert room.statuses == ["listening"]
    await clock.advance(0.2)
    assert room.statuses == ["listening", "busy, 4 waiting"]
    await clock.advance(10 * INTERVAL_S)
    status.show(room, "busy, 4 waiting")
    await clock.advance(10 * INTERVAL_S)
    assert len(room.statuses) == 2
    await status.clear()
    await status.clear()
    assert room.statuses == ["listening", "busy, 4 waiting", None]


async def test_a_wish_that_has_passed_is_not_shown(room: ScriptedRoom, clock: FakeClock) -> None:
    """Back to what stands there: nothing is written."""
    status = VoiceStatus(clock)
    status.show(room, "listening")
    await settle()
    status.show(room, "busy, 1 waiting")
    status.show(room, "listening")
    await clock.advance(3 * INTERVAL_S)
    assert room.statuses == ["listening"]
    await status.clear()


async def test_without_the_permission_nothing_is_tried(room: ScriptedRoom, clock: FakeClock) -> None:
    """Neither writing nor clearing."""
    room.may_set_status = False
    status = VoiceStatus(clock)
    status.show(room, "listening")
    await clock.advance(INTERVAL_S)
    await status.clear()
    assert room.statuses == []


async def test_a_failure_costs_one_line(room: ScriptedRoom, clock: FakeClock) -> None:
    """It is not tried again and again; the next change is, in its turn, and the line is cleared since it may stand there."""
    room.status_faults = [OSError()]
    status = VoiceStatus(clock)
    status.show(room, "listening")
    await settle()
    status.show(room, "busy, 1 waiting")
    await clock.advance(INTERVAL_S)
    assert room.statuses == ["busy, 1 waiting"]
    await status.clear()
    assert room.statuses[-1] is None


async def test_a_discord_that_hangs_keeps_nobody(room: ScriptedRoom, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(room, "set_status", hang)
    status = VoiceStatus(clock)
    status.show(room, "listening")
    await settle()
    assert (asked, cancelled) == (["listening"], [])
    await timeouts.wait_for(status.clear(), 5)
    assert asked == cancelled == ["listening", None]
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("voice status:")]
