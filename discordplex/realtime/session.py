"""RealtimeSession: the turns of one session with a Realtime server. What the server says becomes events, what people say is sent to it."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from discordplex.audio.converter import Downsampler, Upsampler
from discordplex.audio.format import ENGINE, SAMPLE_BYTES
from discordplex.audio.mixer import mix
from discordplex.audio.playback import Playback
from discordplex.audio.vad import exceeds
from discordplex.clock import Clock
from discordplex.engine import Audio, EngineEvent, Interrupted, Persona, PlaybackHeld, PlaybackResumed, Problem, SpeakerId, Text
from discordplex.fifo import Fifo
from discordplex.metrics import Metrics
from discordplex.realtime import endings, messages
from discordplex.realtime.client import SESSION_TIMEOUT_S, SILENT_S, RealtimeClient
from discordplex.realtime.dialects import RATE_HZ, Dialect
from discordplex.realtime.memory import Memory
from discordplex.realtime.messages import END_OF_SPEECH_MS, TurnDetection
from discordplex.realtime.protocol import (
    Cleared,
    Committed,
    Fact,
    MessageRefused,
    Over,
    PersonWords,
    Ready,
    ReplyBegan,
    ReplyEnded,
    ReplySound,
    ReplyWords,
    SpeechBegan,
    SpeechEnded,
)
from discordplex.realtime.replies import Replies
from discordplex.realtime.turns import CUT_MS, Floor, FloorWatch
from discordplex.realtime.utterances import LATE_MS, HeardItem, Utterances
from discordplex.token_bucket import TokenBucket

log = structlog.get_logger()

AUDIBLE_DBFS: Final = -45.0
"""Where the speech gate opens too: open microphones in quiet rooms lie below."""
MOST_BACKLOG_BYTES: Final = 64 << 10
"""A second of sound as base64 that the server has not read: more is dropped before it is encoded."""
MOST_EVENTS: Final = 4000
"""Events that wait for the call, which takes them at once."""
MOST_REFUSALS: Final = 20
"""Kinds of refusals that are logged."""
STALL_S: Final = 15.0
"""A reply of which nothing comes for so long, or that does not end when it is cancelled, has stalled."""
DUPLEX_STALL_S: Final = 5.0
"""A model that speaks in real time sends something, silence at least, ten times as often."""
RENEWAL_S: Final = 120.0
"""So long before a service ends a session, or in the last tenth of a short one, the next may begin: in a pause."""
SHORTEST_PROMISE_S: Final = 300.0
"""No service ends a session sooner. One that says so has another clock, and would be asked for one session after another."""
PAUSE_BEFORE_RENEWAL_MS: Final = 2000.0
"""Nobody has spoken for so long; the words of who spoke before are known."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session is opened with."""

    url: str
    key: str | None = field(repr=False)
    model: str
    turn_detection: TurnDetection
    transcription_model: str
    may_be_duplex: bool
    """The dialect was not set: a server that says nothing by itself is taken for one of vLLM-Omni's."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What the sessions of one call share. People go on hearing a reply when its session is over."""

    settings: SessionSettings
    persona: Persona
    memory: Memory
    clock: Clock
    metrics: Metrics
    outbox: Fifo[EngineEvent]
    playback: Playback = field(default_factory=Playback)
    floor: FloorWatch = field(default_factory=FloorWatch)


class RealtimeSession:
    """One session, from `open` to `close`. `on_over` is called when it has ended: `ending` says why. Thread: loop."""

    def __init__(self, dialect: Dialect, call: SessionContext, *, on_over: Callable[[], None]) -> None:
        self.ending: endings.SessionEnding | None = None
        self.began_at = call.clock.now()
        self.utterances = Utterances(call.floor)
        self.replies = Replies()
        self._dialect = dialect
        self._settings = call.settings
        self._persona = call.persona
        self._memory = call.memory
        self._clock = call.clock
        self._outbox = call.outbox
        self._playback = call.playback
        self._floor = call.floor
        self._on_over = on_over
        self._frames_sent = call.metrics.counter("engine.frames_sent")
        self._frames_dropped = call.metrics.counter("engine.frames_dropped")
        self._tokens_in = call.metrics.counter("engine.tokens_in")
        self._tokens_out = call.metrics.counter("engine.tokens_out")
        self._client = RealtimeClient(
            dialect,
            url=dialect.url(call.settings.url, call.settings.model),
            headers=dialect.headers(call.settings.key),
            clock=call.clock,
            on_fact=self._take,
        )
        self._closed = False
        self._down, self._up = Downsampler(channels=1), Upsampler(channels=1)
        self._utterance_budget = TokenBucket(per_second=5, burst=100)
        """Who said each of them is looked up among all that was said."""
        self._clears = 0
        """How often the server was told to clear what it heard, and has not said that it did."""
        self._clears_until_ms = 0.0
        self._quiet_ms = 0
        self._uncommitted = False
        self._refusals: set[str] = set()
        self._heard_at = self._progress_at = self.began_at
        self._renew_at = float("inf")

    @property
    def is_live(self) -> bool:
        """Whether the server takes sound."""
        return not self._closed and self._client.live

    @property
    def may_be_renewed(self) -> bool:
        """The service will end the session soon, and nobody speaks or waits for an answer."""
        return self._clock.now() >= self._renew_at and self.is_quiet

    def renew_later(self, seconds: float) -> None:
        """Go on with this session for so long at least."""
        self._renew_at = self._clock.now() + seconds

    @property
    def retry_after_s(self) -> float:
        """How long the server asked to be left alone, when it refused to open a session."""
        return self._client.retry_after_s

    async def open(self) -> None:
        """Connect, and return once the session is as it was asked for. Raises EngineError with a sentence for people."""
        settings, dialect = self._settings, self._dialect
        wishes = {"model": settings.model, "turn_detection": settings.turn_detection, "transcription_model": settings.transcription_model}
        await self._client.open(
            messages.opening(dialect, self._persona, **wishes),  # type: ignore[arg-type] # the three are what it asks for
            messages.opening(dialect, self._persona, **wishes, plain=True),  # type: ignore[arg-type] # likewise
            patience_s=SILENT_S if settings.may_be_duplex else SESSION_TIMEOUT_S,
        )

    def remember(self) -> None:
        """Tell the server what was said in the sessions before. From now on it is this one that can be told to forget it."""
        if not self._dialect.full_duplex:
            self._memory.begin_session()
            for item in messages.remembered(self._memory):
                self._client.send(messages.encode(item))

    async def close(self) -> None:
        """Hang up; nothing that the server says from now on counts."""
        self._closed = True
        await self._client.close()

    # What people do

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Send one tick of what people say; see `VoiceEngine.push`."""
        if not self.is_live:
            return
        loud = frozenset(speaker for speaker, frame in frames.items() if exceeds(frame, AUDIBLE_DBFS))
        if self._client.backlog_bytes > MOST_BACKLOG_BYTES:
            self._frames_dropped.add()
            return
        self._client.send(messages.append(self._dialect, self._down.convert(mix(frames.values()) if frames else ENGINE.silence)))
        self._frames_sent.add()
        self.utterances.forgotten -= loud
        self.utterances.spoken.add(ENGINE.frame_ms, loud)
        if not self._dialect.full_duplex:
            self._watch_floor(loud=bool(loud))
        self._watch_server()

    def interrupt(self, item: str, played_ms: float | None) -> None:
        """Stop speaking: of `item` people heard `played_ms`. A model that owns its turns is not told."""
        if self._dialect.full_duplex:
            return
        self._floor.release()
        self._playback.cut(self._clock.now())
        if item in self.replies and played_ms is not None:
            for part in self.replies.cut(item, played_ms):
                self._send(messages.encode(messages.truncate(part.item, part.heard_ms)))
                self._memory.cut(part.item, part.share)
        self._cancel(self.replies.drop_all())

    def pause(self) -> None:
        """Drop what people said and nobody has answered, and stop speaking."""
        if not self._dialect.full_duplex:
            self._clear()
            self._stop_speaking()

    def forget(self, speaker: SpeakerId) -> None:
        """Drop all that can be dropped of this speaker, at once. A model that owns its turns cannot forget."""
        answers = self.replies.answering(speaker)
        gone = [*self._memory.forget(speaker), *answers, *self.utterances.forget(speaker)]
        if self._dialect.full_duplex:
            return
        if self.utterances.current in gone or self.utterances.is_uncommitted(speaker):
            self._clear()
        if speaker in self.replies.asked_by or any(item in gone for item in self.replies):
            self._stop_speaking()
        for item in dict.fromkeys(gone):
            self.utterances.drop(item)
            self.replies.delete(item)
            self._send(messages.encode(messages.delete(item)))

    def reset(self) -> None:
        """Forget everything that was said, and stop speaking."""
        gone = [*self._memory.clear(), *self.utterances, *self.replies]
        if self._dialect.full_duplex:  # vLLM-Omni, found in a call that was taken for one with turns: its model begins anew
            self._send(messages.encode(messages.cancel("")))
        else:
            self._clear()
            self._stop_speaking()
            for item in dict.fromkeys(gone):
                self._send(messages.encode(messages.delete(item)))
        self.utterances.clear()
        self.replies.clear()

    # What the server says

    def _take(self, fact: Fact) -> None:
        if self._closed:
            return
        self._heard_at = self._clock.now()
        match fact:
            case ReplySound():
                self._take_sound(fact)
            case ReplyWords():
                self._take_words(fact)
            case PersonWords(item, text, final):
                self._take_transcript(item, text, final=final)
            case Over(ending):
                self._end(ending)
            case Ready(creates_replies, expires_at):
                self.replies.server_creates = creates_replies
                lasts_s = 0.0 if expires_at is None else expires_at - time.time()
                if lasts_s >= SHORTEST_PROMISE_S and not self._dialect.full_duplex:  # what those know, no other session can be told
                    self.renew_later(lasts_s - min(RENEWAL_S, lasts_s / 10))
            case MessageRefused():
                self._take_refusal(fact)
            case _:
                self._take_turn(fact)

    def _take_turn(self, fact: Fact) -> None:
        """Who speaks, as the server sees it."""
        match fact:
            case SpeechBegan(item, at_ms):
                if not self._is_clearing:
                    self._charge_utterance()
                    self.utterances.begin(item, at_ms, sounding=self._is_sounding)
            case SpeechEnded(item, at_ms):
                self.utterances.end(item, at_ms)
            case Committed(item):
                self._take_commit(item)
            case Cleared():
                self._clears = max(0, self._clears - 1)
            case ReplyBegan(response):
                self._begin_reply(response)
            case ReplyEnded():
                self._take_end(fact)

    def _take_sound(self, fact: ReplySound) -> None:
        if not fact.pcm or self.replies.is_dropped(fact.response, fact.item):
            return
        length_ms = len(fact.pcm) / SAMPLE_BYTES / RATE_HZ * 1000
        if self.replies.add_sound(fact.item, fact.response, length_ms):
            self._up = Upsampler(channels=1) if not self._dialect.full_duplex else self._up
            self._memory.open("assistant", fact.item, self.replies.people_of(fact.response))
        self._progress_at = self._clock.now()
        self._playback.add(length_ms, self._clock.now())
        if len(self._outbox) >= MOST_EVENTS:
            self._client.exceed("sound")
            return
        self._outbox.put(Audio(self._up.convert(fact.pcm), item=fact.item))

    def _take_words(self, fact: ReplyWords) -> None:
        if len(self._outbox) >= MOST_EVENTS or self.replies.is_dropped(fact.response, fact.item):
            return
        if fact.text:
            self._progress_at = self._clock.now()
        if fact.item:
            self._memory.open("assistant", fact.item, self.replies.people_of(fact.response))
            self._memory.add(fact.item, fact.text)
        if fact.text or fact.final:
            self._outbox.put(Text(fact.text, final=fact.final, item=fact.item))

    def _take_transcript(self, item: str, text: str, *, final: bool) -> None:
        """What somebody said. A piece is told when all of it is known: the pieces of several people come in any order."""
        spoken, forgotten = self.utterances.spoken, self.utterances.forgotten
        if self._dialect.live:
            begin_ms = max(0.0, spoken.now_ms - LATE_MS)
            if not forgotten & spoken.speakers(begin_ms, spoken.now_ms):
                speaker = spoken.speaker(begin_ms, spoken.now_ms)
                self._outbox.put(Text(text, role="person", speaker=speaker, began_at=self._moment(begin_ms)))
            return
        utterance = self.utterances.get(item)
        if not final or utterance is None or not text or (forgotten and not utterance.people and utterance.committed):
            return
        if not utterance.committed:
            self.utterances.find_people(utterance)
            if utterance.people & forgotten:
                return
            self._memory.open("user", item, utterance.people)
        self._memory.put(item, text)
        self._outbox.put(
            Text(text, role="person", speaker=utterance.speaker, final=True, item=item, began_at=self._moment(utterance.begin_ms))
        )

    def _take_commit(self, item: str) -> None:
        """Somebody has finished: answer, unless it was a sound over a reply that did not cut it off."""
        if item not in self.utterances:
            self._charge_utterance()
        utterance = self.utterances.commit(item)
        if utterance is None:
            return
        if self._is_unwanted(item, utterance):
            self._send(messages.encode(messages.delete(item)))
            self._memory.drop(item)
            self.utterances.drop(item)
            return
        if utterance.over_reply and not utterance.cut and self._is_sounding:
            self._stop_speaking()  # the server has heard them late
        self.replies.ask(utterance.people)
        self._memory.open("user", item, utterance.people)
        if self.replies.server_creates:
            return
        if self.replies.are_running:
            self.replies.create_next = True
            self._cancel(self.replies.cancel())
        else:
            self._create()

    def _is_unwanted(self, item: str, utterance: HeardItem) -> bool:
        if self._is_clearing or self.replies.is_dropped(item) or utterance.people & self.utterances.forgotten:
            return True
        return self.utterances.is_cough(utterance)

    def _create(self) -> None:
        self.replies.create()
        self._progress_at = self._clock.now()
        self._send(messages.encode(messages.CREATE))

    def _begin_reply(self, response: str) -> None:
        if self.replies.is_running(response):
            return
        self._progress_at = self._clock.now()
        if not self.replies.begin(response, always=self._dialect.full_duplex):
            self._cancel([response])

    def _take_end(self, fact: ReplyEnded) -> None:
        due = self.replies.end(fact.response)
        self._progress_at = self._clock.now()
        self._tokens_in.add(fact.tokens_in)
        self._tokens_out.add(fact.tokens_out)
        if fact.failure is not None:
            if not fact.failure.retry:
                self._end(fact.failure)
            elif due and not self.replies.is_dropped(fact.response):
                self._tell_failure(fact.failure.cause)
        if self.replies.create_next and not self.replies.are_running:
            self._create()

    def _tell_failure(self, cause: str) -> None:
        if len(self._outbox) < MOST_EVENTS:
            self._outbox.put(Problem(f"{self._dialect.service} could not answer. Ask again.", service="engine", cause=cause))

    def _take_refusal(self, fact: MessageRefused) -> None:
        """Logged once for each code: a server may refuse every piece of sound."""
        code, parameter = fact.code, fact.parameter
        if code == "conversation_already_has_active_response":
            self.replies.not_created()
        elif code == "response_cancel_not_active":
            self.replies.none_run()
            if self.replies.create_next:
                self._create()
        elif fact.event == messages.CREATE["event_id"] and self.replies.not_created():
            self._tell_failure(code)
        if code not in endings.HARMLESS and code not in self._refusals and len(self._refusals) < MOST_REFUSALS:
            self._refusals.add(code)
            log.warning("the server refuses a message", server=self._dialect.service, cause=code, parameter=parameter)

    def _end(self, ending: endings.SessionEnding) -> None:
        self.ending = ending
        self._on_over()

    # Whose turn it is

    @property
    def _is_sounding(self) -> bool:
        return self._playback.is_sounding(self._clock.now())

    @property
    def is_quiet(self) -> bool:
        """Nobody speaks, and nobody waits for an answer."""
        now_ms = self.utterances.spoken.now_ms
        if not self.is_live or self._is_sounding or self.replies.are_due or self.utterances.current is not None or self._uncommitted:
            return False
        return not self.utterances.spoken.voiced_ms(now_ms - PAUSE_BEFORE_RENEWAL_MS, now_ms)

    def _watch_floor(self, *, loud: bool) -> None:
        by_server = self._settings.turn_detection != "none"
        server_hears = self.utterances.current is not None or not by_server
        decision = self._floor.tick(loud=loud, sounding=self._is_sounding, server_hears=server_hears)
        now = self._clock.now()
        if decision is Floor.HOLD:
            self._playback.hold(now)
            self._outbox.put(PlaybackHeld())
        elif decision is Floor.RESUME:
            self._playback.resume(now)
            self._outbox.put(PlaybackResumed())
        elif decision is Floor.CUT:
            self.utterances.cut()
            self._stop_speaking()
        if not by_server:
            self._commit_after_pause(loud=loud)

    def _commit_after_pause(self, *, loud: bool) -> None:
        """Without a detector at the server, a pause ends what was said."""
        self._quiet_ms = 0 if loud else self._quiet_ms + ENGINE.frame_ms
        self._uncommitted = self._uncommitted or (self._floor.voiced_ms >= CUT_MS // 2 and self._floor.speaking)
        if self._uncommitted and self._quiet_ms >= END_OF_SPEECH_MS:
            self._uncommitted = False
            self._send(messages.encode(messages.COMMIT))

    def _stop_speaking(self) -> None:
        """Be silent: the call says how much of the reply was heard, by `interrupt`."""
        self._floor.release()
        if self._is_sounding or self._playback.held:
            self._playback.cut(self._clock.now())
            self._outbox.put(Interrupted())
        self._cancel(self.replies.drop_all())

    def _cancel(self, responses: Iterable[str]) -> None:
        for response in responses:
            self._send(messages.encode(messages.cancel(response)))

    @property
    def _is_clearing(self) -> bool:
        """What the server says of people is of before it was told to clear."""
        return self._clears > 0 and self.utterances.spoken.now_ms < self._clears_until_ms

    def _clear(self) -> None:
        """Drop what the server has heard and not committed. A commit may cross this on its way."""
        self._send(messages.encode(messages.CLEAR))
        self.utterances.current, self._uncommitted = None, False
        self._clears, self._clears_until_ms = self._clears + 1, self.utterances.spoken.now_ms + LATE_MS

    # Small things

    def _watch_server(self) -> None:
        duplex = self._dialect.full_duplex
        since, patience_s = (self._heard_at, DUPLEX_STALL_S) if duplex else (self._progress_at, STALL_S)
        waited_s = self._clock.now() - since
        if waited_s >= patience_s and (duplex or self.replies.are_due):
            self._client.stalled(waited_s)

    def _charge_utterance(self) -> None:
        if not self._utterance_budget.take(1, self._clock.now()):
            self._client.exceed("utterances")

    def _send(self, text: str) -> None:
        if not self._closed:
            self._client.send(text)

    def _moment(self, at_ms: float) -> float:
        """When so much of the session's sound had been sent, in seconds of the clock; a pause of ours makes it an estimate."""
        return self._clock.now() - (self.utterances.spoken.now_ms - at_ms) / 1000
