"""What is said is kept where a guild's admins want that, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest

from discordplex.bot.call.state import CallState
from discordplex.bot.call.transcripts import BATCH, TranscriptWriter
from discordplex.bot.chat.notices import Notices
from discordplex.bot.place import Place
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bridge.events import Caption
from discordplex.config import Config
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.store import transcripts
from discordplex.store.records import TranscriptLine
from discordplex.store.store import Store, open_store
from discordplex.store.transcripts import Transcripts
from tests.bot.fakes import CountedEngines, FakeChannel, ScriptedVoiceChannel
from tests.bridge.scripted import PERSONA

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=timezone.utc)
GUILD, ANNA = 1, 100


class Recording:
    """A transcript writer with everything around it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.metrics = Metrics()
        self.preferences = StoredPreferences(config=Config(), provider=CountedEngines(), store=store)
        self.clock = FakeClock()
        self.chat = FakeChannel(self.clock)
        self.notices = Notices(clock=self.clock, metrics=self.metrics)
        self.time = NOON
        self.transcripts = TranscriptWriter(preferences=self.preferences, notices=self.notices, metrics=self.metrics, now=lambda: self.time)

    def call(self) -> CallState:
        """A call that is said to go on."""
        voice_channel = ScriptedVoiceChannel(Place(GUILD, 11), self.chat)
        return CallState(number=1, voice_channel=cast("Any", voice_channel), engine="cascade", transcribes=True, persona=PERSONA)

    async def switch(self, *, on: bool) -> None:
        await self.preferences.change_guild(GUILD, lambda now: replace(now, transcripts=on))

    def says(self, call: CallState, text: str, *, final: bool = True, speaker: int | None = None) -> None:
        self.time += timedelta(seconds=1)
        self.transcripts.hear(call, Caption(1, text, final, speaker))

    async def kept(self) -> dict[str, list[tuple[int | None, str]]]:
        await self.transcripts.close()
        calls = await self.store.transcripts.calls(GUILD)
        return {one.call: [(line.user_id, line.text) for line in await self.store.transcripts.read(GUILD, one.call)] for one in calls}


@pytest.fixture
async def recording() -> AsyncIterator[Recording]:
    async with open_store("sqlite://") as store:
        recording = Recording(store)
        yield recording
        await recording.notices.close()


async def test_nothing_is_kept_unless_switched_on(recording: Recording) -> None:
    """Not before, and not after it was switched off again."""
    call = recording.call()
    recording.says(call, "before")
    await recording.switch(on=True)
    recording.says(call, "while")
    await recording.transcripts.close()
    await recording.switch(on=False)
    recording.says(call, "after")
    assert list((await recording.kept()).values()) == [[(None, "while")]]


async def test_a_call_that_is_stopped_saves_no_more_of_its_people(recording: Recording) -> None:
    """Its own words stay, and other calls are not concerned; what is said when it goes on is kept."""
    await recording.switch(on=True)
    stopped, other = recording.call(), recording.call()
    for call in (stopped, other):
        recording.says(call, "Anna's", speaker=ANNA)
        recording.says(call, "the engine's")
    recording.transcripts.drop_people(stopped)
    recording.says(stopped, "later", speaker=ANNA)
    kept = await recording.kept()
    lines = [line for call in kept.values() for line in call]
    assert (lines.count((ANNA, "Anna's")), lines.count((None, "the engine's")), lines.count((ANNA, "later"))) == (1, 2, 1)


async def test_a_transcript_has_whole_stretches_with_who_said_them(recording: Recording) -> None:
    """Only what is final, each call for itself, in order."""
    await recording.switch(on=True)
    first, second = recording.call(), recording.call()
    recording.says(first, "Hel", final=False)
    recording.says(first, "Hello.")
    recording.says(second, "Another call.")
    recording.says(first, "Hi!", speaker=ANNA)
    kept = await recording.kept()
    assert list(kept.values()) == [[(None, "Hello."), (ANNA, "Hi!")], [(None, "Another call.")]]
    assert all(name.startswith("2026-11-20 12:00 ") for name in kept)


async def test_a_line_has_the_time_when_it_began_to_be_said(recording: Recording) -> None:
    """A transcription comes seconds after the words, and a long reply is whole at its end; without one it is the caption's."""
    await recording.switch(on=True)
    call = recording.call()
    await recording.clock.advance(30)
    now = recording.clock.now()
    recording.time = NOON
    recording.transcripts.hear(call, Caption(1, "A long reply.", final=True, speaker=None, began_at=now - 2.5))
    recording.transcripts.hear(call, Caption(2, "Said before.", final=True, speaker=ANNA, role="person", began_at=now - 4.0))
    recording.transcripts.hear(call, Caption(3, "Said now.", final=True, speaker=ANNA, role="person"))
    await recording.transcripts.close()
    [one] = await recording.store.transcripts.calls(GUILD)
    assert [((line.said_at - NOON).total_seconds(), line.text) for line in await recording.store.transcripts.read(GUILD, one.call)] == [
        (-4.0, "Said before."),
        (-2.5, "A long reply."),
        (0.0, "Said now."),
    ]


async def test_a_database_that_fails_is_told_and_costs_no_call(recording: Recording) -> None:
    """The lines are lost and counted; the call hears why."""
    await recording.switch(on=True)
    async with open_store("sqlite://") as closed:
        pass
    recording.preferences.store = closed
    recording.says(recording.call(), "lost")
    await recording.transcripts.close()
    await recording.clock.advance(2)
    assert len(recording.chat.texts) == 1
    assert "not saved" in recording.chat.texts[0]
    assert recording.metrics.counter("transcripts.dropped").value == 1


async def test_what_waits_is_bounded_in_bytes(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest lines make room, and are counted; a character may have four bytes."""
    monkeypatch.setattr("discordplex.bot.call.transcripts.MOST_BYTES", 12)
    await recording.switch(on=True)
    call = recording.call()
    for text in ("0123", "1", "\N{GRINNING FACE}", "3", "4567"):
        recording.says(call, text)
    assert list((await recording.kept()).values()) == [[(None, "1"), (None, "\N{GRINNING FACE}"), (None, "3"), (None, "4567")]]
    assert recording.metrics.counter("transcripts.dropped").value == 1
    recording.says(call, "a line that is longer than all that may wait")
    assert recording.metrics.counter("transcripts.dropped").value == 2


async def test_many_lines_are_saved_a_few_at_a_time(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others want to use the database too."""
    kept: list[int] = []
    keep = Transcripts.keep

    async def counted(self: Transcripts, lines: Sequence[TranscriptLine], *more: Any) -> int:
        kept.append(len(lines))
        return await keep(self, lines, *more)

    monkeypatch.setattr(Transcripts, "keep", counted)
    await recording.switch(on=True)
    call = recording.call()
    for number in range(2 * BATCH + 1):
        recording.says(call, str(number))
    assert [len(lines) for lines in (await recording.kept()).values()] == [2 * BATCH + 1]
    assert kept == [BATCH, BATCH, 1]


@pytest.mark.parametrize("saving", [False, True], ids=["waiting", "in the middle of being saved"])
@pytest.mark.parametrize("what", ["person", "guild", "call"])
async def test_a_deletion_reaches_what_is_not_saved_yet(
    recording: Recording, what: str, monkeypatch: pytest.MonkeyPatch, *, saving: bool
) -> None:
    """Lines that wait, or that are in a transaction which has not begun to write, are not saved after it."""
    await recording.switch(on=True)
    call = recording.call()
    gate, reached = asyncio.Event(), asyncio.Event()
    welcome = transcripts.welcome

    async def slow(connection: Any, lines: Any) -> Any:
        wanted = await welcome(connection, lines)
        reached.set()
        await gate.wait()
        return wanted

    if saving:
        monkeypatch.setattr(transcripts, "welcome", slow)
    recording.says(call, "Anna's", speaker=ANNA)
    recording.says(call, "the engine's")
    if saving:
        await reached.wait()
    name = recording.transcripts.name_of(call)
    deletion = {
        "person": lambda: recording.preferences.forget(ANNA),
        "guild": lambda: recording.preferences.forget_guild(GUILD),
        "call": lambda: recording.preferences.forget_transcripts(GUILD, name),
    }[what]()
    gate.set()
    await deletion
    kept = await recording.kept()
    assert [text for lines in kept.values() for _, text in lines] == (["the engine's"] if what in ("person", "stop") else [])
