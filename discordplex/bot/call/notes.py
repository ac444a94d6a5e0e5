"""NotesWriter: the notes of a call, made when it has ended, only for servers whose admins switched them on."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Protocol

import discord
import structlog

from discordplex.bot import guild_rules, texts
from discordplex.bot.call.note_summary import INSTRUCTIONS, NoteSummary, newest, prompt_of, read_answer
from discordplex.bot.call.state import CallState
from discordplex.bot.call.transcripts import TranscriptWriter
from discordplex.bot.chat.notices import Notices
from discordplex.bot.chat.poster import DeliveryStatus
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.cancellable import CancellableWork
from discordplex.clock import Clock
from discordplex.engine import SpeakerId
from discordplex.errors import DiscordplexError
from discordplex.store.records import Owner, TranscriptLine
from discordplex.tasks import cancel_and_wait

log = structlog.get_logger()

LEAST_MINUTES: Final = 2
"""A shorter call has no notes."""
MOST_TRIES: Final = 3
"""Summaries of one call that are asked for, because people opt out while one is being made."""
AT_ONCE: Final = 2
"""Questions to the chat model at once, of all servers together."""
MOST_PEOPLE: Final = 500
"""People of one call whose time is counted."""


class NotesModel(Protocol):
    """A chat model, as the notes use it."""

    @property
    def name(self) -> str:
        """How people are told of it. No address."""
        ...

    async def answer(self, instructions: str, text: str) -> str:
        """The model's answer to a text. Raises DiscordplexError, with a sentence for people. A cancellation ends the request."""
        ...


class Attendance:
    """Who was in a call, for how long, and what they may be called. Names are kept: Discord forgets those of people who left."""

    def __init__(self, clock: Clock) -> None:
        self.names: dict[SpeakerId, str] = {}
        """Those whom a message in the call's channel may name."""
        self._clock = clock
        self._seconds: dict[SpeakerId, float] = {}
        self._since: dict[SpeakerId, float] = {}

    def update(self, people: frozenset[SpeakerId], name_of: Callable[[SpeakerId], str | None] = lambda _: None) -> None:
        """These people are in the call now; `name_of` gives the name of each as far as it may be written."""
        now = self._clock.now()
        for gone in self._since.keys() - people:
            self._seconds[gone] = self._seconds.get(gone, 0.0) + now - self._since.pop(gone)
        for new in people - self._since.keys():
            if len(self._seconds.keys() | self._since.keys()) < MOST_PEOPLE or new in self._seconds:
                self._since[new] = now
        for person in self._since:
            if name := name_of(person):
                self.names[person] = name
            else:
                self.names.pop(person, None)

    def seconds(self) -> dict[SpeakerId, float]:
        """How long each person was there so far, the longest first."""
        now = self._clock.now()
        found = dict(self._seconds)
        for person, since in self._since.items():
            found[person] = found.get(person, 0.0) + now - since
        return dict(sorted(found.items(), key=lambda one: -one[1]))


@dataclass(eq=False, slots=True)
class EndedCall:
    """A call that has ended, and what its notes need."""

    state: CallState
    channel: Any
    """Where people were told that notes are posted: py-cord's channel."""
    seconds: float
    told_before_s: float
    """How many seconds ago people had been told of the notes; what was said before is not in them."""
    seconds_of: Mapping[SpeakerId, float]
    """Who was there, and for how long."""
    names: Mapping[SpeakerId, str]
    """Of these, the people whom a message in that channel may name."""
    dropped: bool = False
    """Its transcript was deleted meanwhile: there are no notes."""


class NotesWriter:
    """Makes and posts the notes of calls in the background. `write` returns at once. Thread: loop.

    They are made from the stored transcript, so that they have nothing that was deleted. Who opts out or deletes their data while notes
    are being made is not in them: they are made again.
    """

    def __init__(
        self,
        *,
        preferences: StoredPreferences,
        transcripts: TranscriptWriter,
        notices: Notices,
        summarizer: NotesModel | None = None,
        panel: Callable[[], discord.ui.View] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Without a `summarizer`, notes have no summary. `panel` makes the button below them."""
        self._preferences = preferences
        self._transcripts = transcripts
        self._notices = notices
        self._summarizer = summarizer
        self._panel = panel
        self._now = now
        self._asking = asyncio.Semaphore(AT_ONCE)
        self._work: dict[EndedCall, CancellableWork] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        preferences.forgetting.add(self.forget)

    @property
    def summarizer_name(self) -> str:
        """How people are told who sums up their calls; empty: nobody."""
        return self._summarizer.name if self._summarizer else ""

    def write(self, call: EndedCall) -> None:
        """Make the notes of a call and post them, if it was long enough."""
        if call.seconds <= LEAST_MINUTES * guild_rules.MINUTE_S:
            return
        task = asyncio.create_task(self._write(call, self._now()), name="bot:notes")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def forget(self, owner: Owner, call: str | None = None) -> None:
        """Data was deleted, or somebody opted out: notes that are being made begin anew, or (of a whole server or call) are dropped."""
        for ended, work in self._work.items():
            if owner.kind == "guild":
                if owner.id != ended.state.voice_channel.place.guild_id or call not in (None, self._transcripts.name_of(ended.state)):
                    continue
                ended.dropped = True
            work.cancel()

    async def close(self) -> None:
        """End all work; notes that are not posted yet are never posted."""
        self._closed = True
        self._preferences.forgetting.discard(self.forget)
        await cancel_and_wait(*self._tasks)

    async def _write(self, call: EndedCall, ended_at: datetime) -> None:
        """Make the notes; again where somebody has to be left out, but without a summary after `MOST_TRIES`: each is paid for."""
        try:
            for tries in itertools.count(1):
                if call.dropped or self._closed:
                    self._say(call, "", lambda _: None)  # takes back what Discord does not have yet
                    return
                with CancellableWork(frozenset()) as work:
                    self._work[call] = work
                    await self._post(call, ended_at, self._summarizer if tries <= MOST_TRIES else None)
                    return
        except Exception as error:
            log.exception("notes of a call failed", call=call.state.number, exc_info=error)
        finally:
            self._work.pop(call, None)

    async def _post(self, call: EndedCall, ended_at: datetime, summarizer: NotesModel | None) -> None:
        voice_channel, preferences = call.state.voice_channel, self._preferences
        summary, problem = NoteSummary(), ""
        lines: Sequence[TranscriptLine] = ()
        try:
            lines = await self._lines_of(call, ended_at - timedelta(seconds=call.told_before_s))
            if summarizer and newest(lines):
                summary = await self._sum_up(summarizer, newest(lines), call.names)
        except DiscordplexError as fault:
            log.warning("call not summed up", call=call.state.number, cause=getattr(fault, "cause", type(fault).__name__))
            problem = str(fault)
        if not preferences.rules(voice_channel.place.guild_id).notes:  # switched off meanwhile
            self._say(call, "", lambda _: None)
            return
        there = {one: seconds for one, seconds in call.seconds_of.items() if one not in preferences.opted_out}
        people = [(call.names[one], seconds) for one, seconds in there.items() if one in call.names]
        about = texts.notes.CallNotes(
            channel_id=voice_channel.place.channel_id,
            began_at=ended_at - timedelta(seconds=call.seconds),
            seconds=call.seconds,
            people=people,
            unnamed=len(there) - len(people),
            summary=summary.text,
            decisions=summary.decisions,
            questions=summary.questions,
            summarized_from=newest(lines)[0].said_at if summary.text and newest(lines)[0] is not lines[0] else None,
            problem=problem,
        )
        answered = asyncio.Event()
        self._say(call, texts.notes.notes(about), lambda _: answered.set())
        # While Discord does not take them, who opts out can still be left out: this is cancelled, and other notes replace them.
        await answered.wait()
        self._notices.finish(call.state.number)

    def _say(self, call: EndedCall, text: str, on_delivery: Callable[[DeliveryStatus], None]) -> None:
        view = self._panel() if self._panel else None
        self._notices.say_in(call.channel, text, key=(call.state.number, "notes"), view=view, on_delivery=on_delivery)

    async def _lines_of(self, call: EndedCall, told_at: datetime) -> Sequence[TranscriptLine]:
        """What may be summed up: said after people knew, by nobody who opted out.

        Where somebody of the call did, nothing that the engine said is in it either: it may have quoted them. Raises StoreError.
        """
        await self._transcripts.saved()
        place, opted_out = call.state.voice_channel.place, self._preferences.opted_out
        stored = await self._preferences.store.transcripts.read(place.guild_id, self._transcripts.name_of(call.state))
        left_out: set[int | None] = {*opted_out, *([None] if not opted_out.isdisjoint(call.seconds_of) else [])}
        return tuple(line for line in stored if line.said_at >= told_at and line.user_id not in left_out)

    async def _sum_up(self, summarizer: NotesModel, lines: Sequence[TranscriptLine], names: Mapping[SpeakerId, str]) -> NoteSummary:
        """Ask the chat model. It does not get the name of anybody whom the notes may not name."""
        prompt = prompt_of(lines, "The bot", lambda one: names.get(one, texts.waiting.SOMEBODY))
        async with self._asking:
            return read_answer(await summarizer.answer(INSTRUCTIONS, prompt), lines)
