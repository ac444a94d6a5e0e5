"""Call: the call of one guild. It joins the channel, runs the conversation, posts what happens, and ends everything in the right order."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import discord
import structlog

from discordplex.audio.ducking import Ducking
from discordplex.audio.pacing import REPLIES, STREAM
from discordplex.audio.source import StreamingPlaybackSource
from discordplex.audio.vad import OPEN_DBFS
from discordplex.bot import texts
from discordplex.bot.call.announcer import Announcer
from discordplex.bot.call.captions import CallCaptions
from discordplex.bot.call.conversation import RENEWING, Conversation
from discordplex.bot.call.disclosure import Disclosure
from discordplex.bot.call.hearing import CallHearing
from discordplex.bot.call.interface import Next, Outcome
from discordplex.bot.call.joining import enter, take_the_stage
from discordplex.bot.call.notes import Attendance, EndedCall, NotesWriter
from discordplex.bot.call.state import CallState
from discordplex.bot.call.transcripts import TranscriptWriter
from discordplex.bot.call.voice_status import VoiceStatus
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.notices import Notices, open_captions_thread
from discordplex.bot.guild_rules import Preferences
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bridge.handover_timing import HandoverRule
from discordplex.bridge.ports import EarsProvider
from discordplex.bridge.recap import SummaryModel
from discordplex.clock import Clock
from discordplex.engine import EngineLease, Persona, ReplaceableLease, SpeakerId
from discordplex.metrics import CallMetrics, Metrics
from discordplex.overview import CallOverview, VoiceOverview
from discordplex.tasks import cancel_and_wait, wait_for
from discordplex.tracing import CALL, CALL_NEXT, CALL_NUMBER, JOIN
from discordplex.voice.connection import VoiceConnection
from discordplex.voice.events import CannotHear, HearsAgain, Lost, PersonJoined
from discordplex.voice.rtp.threads import SendThread


@dataclass(frozen=True, slots=True)
class CallContext:
    """The services and settings that a call needs."""

    notices: Notices
    preferences: Preferences
    persona: Persona
    """The persona until the one that people chose is known."""
    send_thread: SendThread
    clock: Clock
    metrics: Metrics
    transcripts: TranscriptWriter | None = None
    """Writes transcripts; without it nothing is kept."""
    notes: NotesWriter | None = None
    """Writes the notes of calls that have ended; without it there are none."""
    panel: Callable[[], discord.ui.View] | None = None
    """Makes the buttons below the greeting."""
    ears: EarsProvider | None = None
    """Writes down what people say, beside an engine that does not; None: nobody does."""
    summarizer: SummaryModel | None = None
    """Writes a summary of the call for the engine's next conversation."""
    handover_rule: HandoverRule | None = None
    return_to_preferred: bool = False
    """Whether a call returns to the preferred kind of engine when that is free again."""
    engine_name: str = ""
    """The name of the engine that people read; empty: the kind of the engine."""


log = structlog.get_logger()

DISCLOSE_S = 4.0
"""How long an admin waits for the answer whether the people in a call could be told. That takes some writes, one per second."""

ENGINE_CLOSE_S = 1.5
"""How long the engine may take to close before the bot leaves the channel anyway."""


class Call:
    """One call. `run` runs it from start to end; everything else may be called meanwhile. Thread: loop."""

    def __init__(
        self,
        *,
        context: CallContext,
        voice_channel: VoiceChannel,
        lease: EngineLease,
        number: int,
        quiet: bool,
        asker: int | None = None,
    ) -> None:
        """Make a call that has not joined yet.

        `number` is unique for each call. With `quiet`, it greets only when the call works. `asker` is the person whose persona it uses,
        or None.
        """
        notices, clock = context.notices, context.clock
        self.state = state = CallState(
            number=number,
            voice_channel=voice_channel,
            engine=context.engine_name or lease.info.description,
            transcribes=lease.info.transcribes,
            persona=context.persona,
            persona_on=lease.persona_on if isinstance(lease, ReplaceableLease) else unchanged,
            ears=context.ears.name if context.ears else "",
            recap_model=context.summarizer.name if context.summarizer else "",
            summarizer=context.notes.summarizer_name if context.notes else "",
            asker=asker,
        )
        self.since = clock.now()
        self.metrics = CallMetrics(context.metrics)
        self.metrics.span = context.metrics.span.child(CALL, {CALL_NUMBER: number})
        self._context = context
        self._lease = lease
        self._quiet = quiet
        self._link: VoiceConnection | None = None
        ducking = Ducking(clock=clock) if lease.info.takes_turns else None
        profile = REPLIES if lease.info.takes_turns else STREAM
        self._source = StreamingPlaybackSource(clock=clock, metrics=self.metrics, profile=profile, ducking=ducking)
        self._hearing = CallHearing(preferences=context.preferences, clock=clock, metrics=self.metrics, ducking=ducking)
        self._disclosure = Disclosure(notices, number, speaking=lambda: self._hearing.gate.speaking)
        self._announcer = Announcer(state, notices, self._disclosure, panel=context.panel)
        self._captions = CallCaptions(
            state, disclosure=self._disclosure, notices=notices, preferences=context.preferences, transcripts=context.transcripts
        )
        self._conversation = Conversation(
            state,
            announcer=self._announcer,
            captions=self._captions,
            lease=lease,
            ears=context.ears.ears(self._disclosure.allows_ears, self.metrics) if context.ears else None,
            summarizer=context.summarizer,
            may_summarize=self._disclosure.allows_summary,
            handover_rule=context.handover_rule,
            source=self._source,
            clock=clock,
            metrics=self.metrics,
            on_replaced=self._follow_engine,
        )
        self._status = VoiceStatus(clock)
        self._attendance = Attendance(clock)
        self._changed = asyncio.Event()
        self._opted_out = frozenset(context.preferences.opted_out)
        self._forgetting: set[asyncio.Task[None]] = set()
        self._asking: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        self._thread: Any | None = None
        self._work: asyncio.Task[Outcome] | None = None
        self._hung_up = False
        self._after = Next.DONE
        self._chosen: Persona | None = None
        self._reported_untold = False
        self._lost: Outcome | None = None
        self._joined: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.refresh()

    # State

    @property
    def voice_channel(self) -> VoiceChannel:
        """The voice channel of the call."""
        return self.state.voice_channel

    @voice_channel.setter
    def voice_channel(self, voice_channel: VoiceChannel) -> None:
        self._context.notices.divert(self.voice_channel.place, None)
        self.state.voice_channel = voice_channel
        self.refresh()

    @property
    def asker(self) -> int | None:
        """The person the bot came for; None if unknown."""
        return self.state.asker

    @property
    def paused(self) -> bool:
        """Whether the call is paused until `resume`."""
        return self.state.paused

    @property
    def phase(self) -> str:
        """The state of the call in one or two words."""
        return self._conversation.phase

    @property
    def renewing(self) -> bool:
        """Whether the engine's conversation is being renewed, so that nobody is heard for some seconds."""
        return self._conversation.phase == RENEWING

    @property
    def engine(self) -> str:
        """The name of the engine that people read."""
        return self.state.engine

    @property
    def costs_money(self) -> bool:
        """Whether its engine costs money."""
        return self._lease.info.costs_money

    @property
    def billed(self) -> bool:
        """Whether its engine costs money and is open now. That includes a pause, in which the engine stays open."""
        return self.costs_money and self._conversation.listening_since is not None and self.lost_since is None

    @property
    def persona(self) -> Persona | None:
        """The persona of the engine; None if the engine keeps its own."""
        return None if self.state.keeps_persona else self.state.present_persona

    @property
    def lost_since(self) -> float | None:
        """When the engine was lost; None while it is open, or was never open."""
        return self._conversation.lost_since

    @property
    def quiet_s(self) -> float:
        """For how many seconds nobody has spoken. Speech during a pause does not count."""
        return self._hearing.gate.quiet_s

    def overview(self, now: float, *, names: bool) -> CallOverview:
        """The call as an observer sees it; with `names`, it says where it is and who is in it."""
        channel, gate = self.voice_channel, self._hearing.gate
        speaking = gate.speaking
        level_dbfs = self._source.level_dbfs
        return CallOverview(
            number=self.state.number,
            phase="stopped" if self.paused else self.phase,
            engine=self.engine,
            age_s=now - self.since,
            people=tuple(
                VoiceOverview(person in speaking, gate.level_dbfs(person), channel.name_of(person) if names else "")
                for person in sorted(channel.people)
            ),
            bot=VoiceOverview(level_dbfs > OPEN_DBFS, level_dbfs),
            metrics=self.metrics,
            place=channel.title if names else "",
        )

    async def joined(self) -> str | None:
        """Wait until the bot is in the channel; returns None, or why it could not join."""
        return await asyncio.shield(self._joined)

    # Requests

    def hang_up(self, after: Next = Next.DONE) -> None:
        """End the call; its outcome says `after`. If called again, the newest `after` counts."""
        self._hung_up, self._after = True, after
        self._stop_work()

    async def follow(self, voice_channel: VoiceChannel) -> None:
        """Move with the people into another channel of the guild."""
        await self._status.clear()
        self.voice_channel = voice_channel
        await voice_channel.move_voice_here()

    @property
    def recording_policy(self) -> RecordingPolicy:
        """What is done with people's words in this call, as they were told."""
        return self._disclosure.in_force or self._announcer.recording_policy.without_records()

    async def disclosed(self) -> bool:
        """Whether what the settings want done with people's words is done. Waits until people were told, or could not be told."""
        disclosure = self._disclosure
        if not self._announcer.recording_policy.needs_notice:
            return True
        with contextlib.suppress(asyncio.TimeoutError):
            await wait_for(disclosure.settled.wait(), DISCLOSE_S)
        return not disclosure.falls_short

    async def pause(self, name: str) -> None:
        """Stay in the channel, but hear nobody and say nothing until `resume`. `name` is the person who asked."""
        self.state.paused = True
        self._hearing.deafen(deaf=True)
        self._captions.drop_people()
        await self._conversation.pause()
        self._announcer.stopped(name)

    async def resume(self, name: str) -> None:
        """Hear and speak again after `pause`."""
        self.state.paused = False
        self._hearing.deafen(deaf=False)
        self._conversation.resume()
        self._announcer.goes_on(name)

    def restart(self, persona: Persona) -> None:
        """Continue as `persona`: a new conversation in the same call, with the same engine."""
        self.state.persona = self._chosen = persona
        self._conversation.restart()

    def rescue(self) -> bool:
        """If the engine is lost, take a healthy free one; returns whether there was one."""
        return self.lost_since is not None and self._conversation.rescue()

    def replace_engine(self, reason: str) -> bool:
        """Continue with an engine of another kind, because of `reason`; returns whether one is free. People are told."""
        return self._conversation.replace_engine(reason)

    def return_to_preferred(self) -> None:
        """If the call has another kind of engine than the preferred one, and the settings want that, return to it where it is free."""
        idle = self._returning is None or self._returning.done()
        if self._context.return_to_preferred and idle and self._conversation.may_return:
            work = self._conversation.return_to_preferred()
            self._returning = asyncio.create_task(work, name=f"call:return:{self.voice_channel.place.guild_id}")

    def show_status(self, text: str) -> None:
        """Set the status line of the voice channel, from when people are heard. Also updates the privacy code in the greeting."""
        if self._conversation.listening_since is not None and not self._hung_up:
            self._status.show(self.voice_channel, text)
            self._announcer.code_is(self._link.privacy_code if self._link else None)
            self._disclosure.look_again()
            self._report_untold()
            self._count_people()

    def _report_untold(self) -> None:
        """Tell the admins and the log, once per call, that nothing is recorded because people could not be told."""
        disclosure = self._disclosure
        if disclosure.settled.is_set() and disclosure.falls_short and not self._reported_untold:
            self._reported_untold = True
            self._context.notices.say_in(self.voice_channel.server_channel, texts.settings.FOR_ADMINS, key=(self.state.number, "untold"))
            log.warning("nothing recorded", cause="people cannot be told", **self._conversation.ids)

    def reset(self) -> bool:
        """Make the engine forget what was said; returns whether it has to start over for that."""
        return self._conversation.reset()

    def refresh(self) -> None:
        """People, opt-outs or the guild's rules changed: update whom the call hears."""
        rules = self._context.preferences.rules(self.voice_channel.place.guild_id)
        self._hearing.refresh(self.voice_channel)
        self._count_people()
        self._context.notices.divert(self.voice_channel.place, self._thread if rules.captions.where == "thread" else None)
        self._announcer.rules_changed(rules)
        self._changed.set()
        if self._joined.done() and self.voice_channel.suppressed and (self._asking is None or self._asking.done()):
            self._asking = asyncio.create_task(self._ask_to_speak(), name=f"call:stage:{self.voice_channel.place.guild_id}")
        opted_out = frozenset(self._context.preferences.opted_out)
        for speaker in opted_out - self._opted_out:
            task = asyncio.create_task(self.forget_speaker(speaker), name=f"call:forget:{self.voice_channel.place.guild_id}")
            self._forgetting.add(task)
            task.add_done_callback(self._forgotten)
        self._opted_out = opted_out

    async def forget_speaker(self, speaker: SpeakerId) -> None:
        """Drop everything of somebody who opted out, in the call and its engine: sound, words, and running requests with either."""
        await self._conversation.forget(speaker)

    async def _ask_to_speak(self) -> None:
        """A moderator moved the bot onto a stage or into its audience: ask to speak once, and leave if nobody allows it."""
        refused = await take_the_stage(self.voice_channel, notices=self._context.notices, changed=self._changed, ask=True)
        if refused and self._work:
            self._lost = refused
            self._stop_work()

    def _stop_work(self) -> None:
        self._conversation.is_ending = True
        if self._work:
            self._work.cancel()

    def _forgotten(self, task: "asyncio.Task[None]") -> None:
        self._forgetting.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            log.error("engine did not forget a speaker", exc_info=fault, **self._conversation.ids)

    def _follow_engine(self) -> None:
        """The engine is of another kind now: everything in the call that depends on the kind follows."""
        info = self._lease.info
        self.state.engine, self.state.transcribes = info.description, info.transcribes
        ducking = Ducking(clock=self._context.clock) if info.takes_turns else None
        self._source.begin_anew(profile=REPLIES if info.takes_turns else STREAM, ducking=ducking)
        self._hearing.sink.ducking = ducking

    # From start to end

    async def run(self) -> Outcome:
        """Join, talk, leave. When this returns, a failure has been posted in the channel.

        However the call ends, no message of it claims to listen any more.
        """
        try:
            outcome = await self._run()
            self.metrics.span.note({CALL_NEXT: outcome.next.value})
            return outcome
        finally:
            self.metrics.span.end()
            self._write_notes()
            self._announcer.ended(self._context.clock.now() - self.since)

    def _count_people(self) -> None:
        """Note who is there, and their names where notes would be posted."""
        channel, voice_channel = self._disclosure.channel, self.voice_channel
        self._attendance.update(voice_channel.people, lambda one: channel and voice_channel.name_in(channel, one))

    def _write_notes(self) -> None:
        """Let the notes of the call be made, if people were told of them and it worked."""
        place, notes = self._disclosure.notes_place, self._context.notes
        if place and notes and self._conversation.listening_since is not None:
            seconds, (channel, told_before_s) = self._context.clock.now() - self.since, place
            there = self._attendance
            notes.write(EndedCall(self.state, channel, seconds, told_before_s, there.seconds(), dict(there.names)))

    async def _run(self) -> Outcome:
        log.info("call started", **self._conversation.ids)
        self._work = asyncio.create_task(self._talk(), name=f"call:{self.voice_channel.place.guild_id}")
        if self._hung_up:
            self._work.cancel()
        try:
            await asyncio.wait({self._work})
        finally:
            outcome = await self._take_down(self._work)
        log.info("call ended", failed=outcome.reason is not None, **self._conversation.ids)
        if outcome.reason and self._joined.result() is None:
            self._announcer.gave_up(outcome.reason)
        elif outcome.reason:
            self._announcer.could_not_join(outcome.reason)
        return outcome

    async def _talk(self) -> Outcome:
        notices = self._context.notices
        with self.metrics.span.child(JOIN) as span:
            refused = await enter(self.voice_channel, self._make_link, notices=notices, changed=self._changed, ids=self._conversation.ids)
            if refused:
                span.fail("refused")
        self._joined.set_result(refused.reason if refused else None)
        if refused or self._link is None:
            return refused or Outcome(next=Next.RETRY)
        if self._context.preferences.rules(self.voice_channel.place.guild_id).captions.where == "thread":
            self._thread = await open_captions_thread(self.voice_channel, notices, self._conversation.ids)
        preferred = await self._context.preferences.persona(self.voice_channel.place.guild_id, self.asker)
        self.state.persona = self._chosen or preferred
        ended = await self._conversation.run(sink=self._hearing.gate, link=self._link, quiet=self._quiet)
        if ended.busy:
            return Outcome(next=Next.WAIT)
        return Outcome(ended.reason, Next.RETRY if ended.reason else Next.DONE)

    def _make_link(self, client: discord.Client, channel: discord.VoiceChannel | discord.StageChannel) -> VoiceConnection:
        """py-cord calls this to get its voice client. From its first packet on, it drops people who must not be heard."""
        self._link = VoiceConnection(
            client,
            channel,
            send_thread=self._context.send_thread,
            sink=self._hearing.sink,
            source=self._source,
            metrics=self.metrics,
            clock=self._context.clock,
            on_event=self._on_voice_event,
        )
        self._hearing.attach(self._link, self.voice_channel)
        return self._link

    async def _take_down(self, work: asyncio.Task[Outcome]) -> Outcome:
        """End the conversation first, for its last captions; then leave the voice channel, even if the engine is not closed yet."""
        work.cancel()
        await asyncio.gather(asyncio.wait({work}, timeout=ENGINE_CLOSE_S), self._status.clear())
        if self._link:
            await self._link.disconnect(force=True)
        await asyncio.wait({work})
        beside = [*self._forgetting, *(task for task in (self._asking, self._returning) if task)]
        await cancel_and_wait(*beside)
        self._hearing.sink.close()
        self._source.close()
        self._context.notices.divert(self.voice_channel.place, None)
        if not self._joined.done():
            self._joined.set_result(texts.calls.LEFT if self._hung_up else texts.calls.NOT_LET_IN)
        since = self._conversation.listening_since
        return replace(self._outcome_of(work), listened_s=0.0 if since is None else self._context.clock.now() - since)

    def _outcome_of(self, work: asyncio.Task[Outcome]) -> Outcome:
        if self._lost:
            return self._lost
        if work.cancelled():
            return Outcome(next=self._after)
        fault = work.exception()
        if fault:
            log.error("call failed", exc_info=fault, **self._conversation.ids)
            return Outcome(texts.calls.INTERNAL, Next.RETRY)
        return Outcome(next=self._after) if self._hung_up else work.result()

    def _on_voice_event(self, event: object) -> None:
        if isinstance(event, Lost):
            log.warning("voice lost", code=event.code, final=event.final, **self._conversation.ids)
            if event.final and self._work:
                self._lost = Outcome(event.reason, Next.RETRY if event.may_retry else Next.DONE)
                self._stop_work()
        elif isinstance(event, CannotHear):
            self._announcer.cannot_hear(event.speaker, event.reason)
        elif isinstance(event, HearsAgain):
            self._announcer.hears_again(event.speaker)
        elif isinstance(event, PersonJoined):
            self.refresh()


def unchanged(persona: Persona) -> Persona:
    """A persona as an engine has it that is the only kind."""
    return persona
