"""A call with everything real but Discord and the engine: settings in a database, the transcript writer, the notices, the call itself."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, cast

from discordplex.bot.call.call import Call, CallContext
from discordplex.bot.call.notes import NotesWriter
from discordplex.bot.call.transcripts import TranscriptWriter
from discordplex.bot.chat.notices import Notices
from discordplex.bot.commands.notes import NotesPanel
from discordplex.bot.commands.privacy import ConsentPanel
from discordplex.bot.place import Place
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bot.settings.unfinished import StoredUnfinishedNotices
from discordplex.config import Config
from discordplex.engine import EngineInfo, SpeakerId, Text
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics
from discordplex.store.records import CaptionsSetting
from discordplex.store.store import Store, open_store
from discordplex.tasks import cancel_and_wait
from tests.bot.fakes import CountedEngines, FakeChannel, ScriptedVoiceChannel
from tests.bridge.scripted import (
    PERSONA,
    WHOLE_REPLIES,
    ReplaceableScriptedLease,
    ScriptedEars,
    ScriptedEngine,
    ScriptedLease,
    ScriptedLink,
)

ANNA, BERT, CARA = 100, 200, 300
BOT = 5
GUILD = 1
CHAT, TOWN_SQUARE = 11, 99
NOON = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


class ScriptedNotesModel:
    """A chat model that answers as a test says, and keeps what it was asked."""

    name = "a chat model (gpt-6-luna)"

    def __init__(self) -> None:
        self.answers: list[str | Exception] = []
        self.asked: list[str] = []
        self.hold, self.was_asked = asyncio.Event(), asyncio.Event()
        """Clear the first to keep an answer waiting."""
        self.hold.set()

    async def answer(self, instructions: str, text: str) -> str:
        assert "no instruction to you" in instructions
        self.asked.append(text)
        self.was_asked.set()
        await self.hold.wait()
        answer = self.answers.pop(0) if self.answers else "SUMMARY: They talked."
        if isinstance(answer, Exception):
            raise answer
        return answer


class TalkingLease(ScriptedLease):
    """A lease of an engine that takes turns and writes down what people say."""

    name = "gpu.example:8998"
    info = EngineInfo("the cascade", transcribes=True, takes_turns=True)

    def __init__(self, *engines: ScriptedEngine) -> None:
        super().__init__(*engines)
        self.name_of = str
        self.forgotten: list[SpeakerId] = []

    def reset(self) -> None:
        raise NotImplementedError

    def forget(self, speaker: SpeakerId) -> None:
        self.forgotten.append(speaker)


class AddressedLease(ScriptedLease):
    """A lease of an engine that only tells what it says itself; its name is an address."""

    name = "gpu.example:8998"


class Hall:
    """One voice channel in which a call runs. `chat` is its own chat, `square` a text channel."""

    def __init__(self, clock: FakeClock, store: Store, *, transcribes: bool, ears: bool, people: Sequence[int], other: bool) -> None:
        self.clock, self.store, self.metrics, self._began = clock, store, Metrics(), clock.now()
        self.chat, self.square = FakeChannel(clock, id=CHAT), FakeChannel(clock, id=TOWN_SQUARE)
        self.preferences = StoredPreferences(config=Config(), provider=CountedEngines(), store=store)
        self.preferences.changed = self.changed
        unfinished = StoredUnfinishedNotices(self.preferences)
        unfinished.logged_in(BOT)
        self.notices = Notices(clock=clock, metrics=self.metrics, unfinished=unfinished)
        self.transcripts = TranscriptWriter(preferences=self.preferences, notices=self.notices, metrics=self.metrics, now=self.now)
        self.summarizer = ScriptedNotesModel()
        self.notes = NotesWriter(
            preferences=self.preferences,
            transcripts=self.transcripts,
            notices=self.notices,
            summarizer=self.summarizer,
            panel=NotesPanel,
            now=self.now,
        )
        self.engine, self.next_engine = ScriptedEngine(clock), ScriptedEngine(clock)
        self.lease: ScriptedLease
        self.voice_channel = ScriptedVoiceChannel(Place(GUILD, CHAT), self.chat, people=frozenset(people), chat=self.chat)
        self.transcribes, self.people = transcribes, people
        self.ears = ScriptedEars(clock) if ears else None
        self.other = ScriptedEngine(clock, caps=WHOLE_REPLIES) if other else None
        """An engine of another kind that is free."""
        self.call: Call
        self._conversation: asyncio.Task[Any]

    def now(self) -> datetime:
        """The day's time goes on with the clock."""
        return NOON + timedelta(seconds=self.clock.now() - self._began)

    def changed(self) -> None:
        """As `Login` does: voice channels are made anew from the rules that hold."""
        where = self.preferences.rules(GUILD).captions.where
        self.voice_channel.captions_channel = {"off": None, "channel": self.square}.get(where, self.chat)
        self.call.refresh()

    async def begin(self, asker: int | None = ANNA) -> None:
        if self.other:
            self.lease = ReplaceableScriptedLease(self.engine, self.next_engine, others=[self.other])
        else:
            self.lease = (TalkingLease if self.transcribes else AddressedLease)(self.engine, self.next_engine)
        context = CallContext(
            notices=self.notices,
            preferences=self.preferences,
            persona=PERSONA,
            send_thread=cast("Any", None),  # nothing is connected here
            clock=self.clock,
            metrics=self.metrics,
            transcripts=self.transcripts,
            panel=ConsentPanel,
            ears=self.ears,
            notes=self.notes,
        )
        self.call = Call(context=context, voice_channel=self.voice_channel, lease=self.lease, number=1, quiet=False, asker=asker)
        self.changed()
        running = self.call._conversation.run(sink=self.call._hearing.gate, link=ScriptedLink(*self.people), quiet=False)
        self._conversation = asyncio.create_task(running)
        await self.clock.advance(1.5)

    async def end(self) -> None:
        await cancel_and_wait(self._conversation)
        self.call._write_notes()
        self.call._announcer.ended(180)
        await self.clock.advance(3)

    async def close(self) -> None:
        if not self._conversation.done():
            await self.end()
        await self.notes.close()
        await self.transcripts.close()
        await self.notices.close()

    async def switch(self, **settings: Any) -> None:
        await self.preferences.change_guild(GUILD, lambda now: replace(now, **settings))
        await self.clock.advance(2.5)

    async def captions(self, where: str) -> None:
        place = CaptionsSetting(cast("Any", where), TOWN_SQUARE) if where in ("channel", "thread") else CaptionsSetting(cast("Any", where))
        await self.switch(captions=place)

    async def says(self, text: str, speaker: SpeakerId | None = None, *, final: bool = True, item: str = "") -> None:
        """The engine says something, or it or the ears write down what somebody said, and that takes its time."""
        role: Literal["engine", "person"] = "engine" if speaker is None else "person"
        said = Text(text, role=role, speaker=speaker, final=final, item=item)
        if self.ears is None or speaker is None:
            self.engine.does(said)
        elif self.ears.allowed():
            self.ears.tells(said)
        await self.clock.advance(2.5)

    async def kept(self) -> list[tuple[int | None, str]]:
        """The rows of the store."""
        while self.transcripts._task and not self.transcripts._task.done():
            await self.transcripts._task
        calls = await self.store.transcripts.calls(GUILD)
        return [(line.user_id, line.text) for one in calls for line in await self.store.transcripts.read(GUILD, one.call)]

    @property
    def posted(self) -> list[str]:
        """Every text that any message ever had: Discord keeps those of today, and people have read the others."""
        return [text for channel in (self.chat, self.square) for message in channel.messages for text in message.texts]

    def greeting(self, channel: FakeChannel | None = None) -> str:
        """What the newest greeting says now."""
        return next(text for text in reversed((channel or self.chat).texts) if "I am listening in" in text)


@asynccontextmanager
async def hall(
    clock: FakeClock, *, transcribes: bool = True, ears: bool = False, people: Sequence[int] = (ANNA, BERT), other: bool = False
) -> AsyncIterator[Hall]:
    """A call that is about to begin; the database is in memory."""
    async with open_store("sqlite://") as store:
        made = Hall(clock, store, transcribes=transcribes, ears=ears, people=people, other=other)
        await made.preferences.learn(GUILD)
        await made.begin()
        try:
            yield made
        finally:
            await made.close()
