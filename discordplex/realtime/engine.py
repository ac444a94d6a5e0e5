"""RealtimeEngine: the engine port on the Realtime protocol. Sessions follow each other; the conversation goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

import structlog
from typing_extensions import Self

from discordplex.audio.converter import Downsampler, Upsampler
from discordplex.audio.format import ENGINE, SAMPLE_BYTES
from discordplex.audio.mixer import mix
from discordplex.audio.playback import Playback
from discordplex.audio.vad import level_dbfs
from discordplex.bounded import drop_oldest
from discordplex.clock import Clock
from discordplex.engine import (
    BUSY,
    Audio,
    Closed,
    EngineCaps,
    EngineEvent,
    EngineReady,
    Interrupted,
    Persona,
    PlaybackHeld,
    PlaybackResumed,
    Problem,
    SpeakerId,
    Text,
    until_closed,
)
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.fifo import Fifo
from discordplex.metrics import Metrics
from discordplex.realtime import endings, messages
from discordplex.realtime.client import SESSION_TIMEOUT_S, SILENT_S, OtherDialectError, RealtimeClient
from discordplex.realtime.dialects import RATE_HZ, VLLM_OMNI, Dialect
from discordplex.realtime.memory import Memory
from discordplex.realtime.messages import TurnDetection
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
from discordplex.realtime.turns import CUT_MS, Floor, FloorWatch, SpokenTimes
from discordplex.token_bucket import TokenBucket

log = structlog.get_logger()

AUDIBLE_DBFS: Final = -45.0
"""Where the speech gate opens too: open microphones in quiet rooms lie below."""
MOST_BACKLOG_BYTES: Final = 64 << 10
"""A second of sound as base64 that the server has not read: more is dropped before it is encoded."""
MOST_EVENTS: Final = 4000
"""Events that wait for the call, which takes them at once."""
MOST_ITEMS: Final = 2000
"""Utterances and replies that can still be deleted: those of an hour, as long as a session lasts."""
MOST_REFUSALS: Final = 20
"""Kinds of refusals that are logged."""
STALL_S: Final = 15.0
"""A reply of which nothing comes for so long, or that does not end when it is cancelled, has stalled."""
DUPLEX_STALL_S: Final = 5.0
"""A model that speaks in real time sends something, silence at least, ten times as often."""
SHORTEST_SESSION_S: Final = 10.0
"""A session that ends earlier was not ended by its clock, whatever the server says: the call's own rule for retries applies."""
END_OF_SPEECH_MS: Final = messages.END_OF_SPEECH_MS
LATE_MS: Final = 2000.0
"""A server says within this time of sound that it hears somebody, and that it has cleared what it heard.

GPT-Live's words have no time: they are of this time."""


@dataclass(slots=True)
class HeardItem:
    """What somebody said, as the server keeps it."""

    begin_ms: float
    end_ms: float | None = None
    over_reply: bool = False
    """It began while the engine was heard."""
    cut: bool = False
    """It has cut the reply off."""
    committed: bool = False
    people: frozenset[SpeakerId] = frozenset()
    speaker: SpeakerId | None = None


@dataclass(slots=True)
class ReplyItem:
    """One item of the engine's, as far as it has come."""

    response: str
    received_ms: float = 0.0
    people: frozenset[SpeakerId] = field(default_factory=frozenset)
    """Whose words it answers."""


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


class RealtimeEngine:
    """One conversation; do not open it twice. What was said is in `memory`, which outlives it. Thread: loop."""

    def __init__(
        self,
        dialect: Dialect,
        settings: SessionSettings,
        *,
        persona: Persona,
        memory: Memory,
        clock: Clock,
        metrics: Metrics,
        learn: Callable[[Dialect], None] = lambda _: None,
        wait: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`learn` hears of a dialect that turned out to be another one; `wait` for how many seconds the server wants to be left alone."""
        self._speak(dialect)
        self._settings = settings
        self._persona = persona
        self._memory = memory
        self._clock = clock
        self._metrics = metrics
        self._learn = learn
        self._wait = wait
        self._outbox: Fifo[EngineEvent] = Fifo()
        self._client: RealtimeClient | None = None
        self._succession: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._ending: endings.SessionEnding | None = None
        self._opened = self._closed = False
        self._refusals: set[str] = set()
        self._frames_sent = metrics.counter("engine.frames_sent")
        self._frames_dropped = metrics.counter("engine.frames_dropped")
        self._tokens_in = metrics.counter("engine.tokens_in")
        self._tokens_out = metrics.counter("engine.tokens_out")
        self._sessions = metrics.counter("engine.sessions")
        self._floor, self._playback = FloorWatch(), Playback()  # people go on hearing a reply when its session is over
        self._begin_session()

    def _speak(self, dialect: Dialect) -> None:
        """Use this dialect. A model that takes turns sends whole replies at once; the others speak in real time."""
        self._dialect = dialect
        self.caps = EngineCaps(realtime_paced=dialect.full_duplex)

    def _begin_session(self) -> None:
        """Forget what belongs to one session."""
        self._down, self._up = Downsampler(channels=1), Upsampler(channels=1)
        self._spoken = SpokenTimes()
        self._utterances: dict[str, HeardItem] = {}
        self._utterance_budget = TokenBucket(per_second=5, burst=100)
        """Who said each of them is looked up among all that was said."""
        self._replies: dict[str, ReplyItem] = {}
        self._running: dict[str, frozenset[SpeakerId]] = {}
        """The replies that are being made, and whose words each answers."""
        self._dropped: dict[str, None] = {}
        """Replies and items that are not wanted any more."""
        self._speech: str | None = None
        """The utterance that the server hears now."""
        self._server_creates = True
        self._create_next = False
        self._unanswered = True
        """The next reply that begins is wanted; at first it is a greeting."""
        self._creating = 0
        """Replies that were asked for and have not begun."""
        self._clears = 0
        """How often the server was told to clear what it heard, and has not said that it did."""
        self._clears_until_ms = self._committed_ms = 0.0
        self._asked_by: frozenset[SpeakerId] = frozenset()
        self._forgotten: frozenset[SpeakerId] = frozenset()
        """People of this session who must not be remembered: what the server says of them later was on its way."""
        self._quiet_ms = 0
        self._uncommitted = False
        self._heard_at = self._progress_at = self._clock.now()
        self._began_at = self._clock.now()

    async def __aenter__(self) -> Self:
        """Open a session. Raises EngineError with a sentence for people."""
        if self._opened:
            raise LocalProtocolError("an engine is opened once; make a new one")
        self._opened = True
        try:
            await self._open_session()
        except OtherDialectError as silence:
            if not self._settings.may_be_duplex or self._dialect.full_duplex:
                raise
            self._speak(VLLM_OMNI)
            try:
                await self._open_session()
            except EngineError as fault:
                if fault.cause not in (BUSY, endings.NO_VOICE):
                    raise silence from None  # of another kind, and slow
                self._learn(VLLM_OMNI)
                raise
            self._learn(VLLM_OMNI)
        self._outbox.put(EngineReady())
        self._succession = asyncio.create_task(self._succeed(), name="realtime sessions")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the session, whatever happened."""
        self._close(endings.left(self._dialect.service))
        if self._succession is not None:
            self._succession.cancel()
            await asyncio.gather(self._succession, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Take one tick of what people say; see `VoiceEngine.push`."""
        client = self._client
        if self._closed or client is None or not client.live:
            return
        loud = frozenset(speaker for speaker, frame in frames.items() if level_dbfs(frame) > AUDIBLE_DBFS)
        if client.backlog_bytes > MOST_BACKLOG_BYTES:
            self._frames_dropped.add()
            return
        client.send(messages.append(self._dialect, self._down.convert(mix(frames.values()) if frames else ENGINE.silence)))
        self._frames_sent.add()
        self._forgotten -= loud
        self._spoken.add(ENGINE.frame_ms, loud)
        if not self._dialect.full_duplex:
            self._watch_floor(loud=bool(loud))
        self._watch_server(client)

    def events(self) -> AsyncIterator[EngineEvent]:
        """The engine's events in order, from EngineReady to Closed. One consumer."""
        return until_closed(self._outbox.take)

    async def interrupt(self, item: str = "", played_ms: float | None = None) -> None:
        """Stop speaking: of `item` people heard `played_ms`. A model that owns its turns is not told."""
        if self._dialect.full_duplex:
            return
        self._floor.release()
        self._playback.cut(self._clock.now())
        if item in self._replies and played_ms is not None:
            names = list(self._replies)
            for name in names[names.index(item) :]:
                self._truncate(name, played_ms if name == item else 0.0)
        self._drop_replies()

    def _truncate(self, item: str, played_ms: float) -> None:
        reply = self._replies[item]
        heard_ms = min(int(played_ms), int(reply.received_ms))
        if heard_ms < reply.received_ms:
            self._send(messages.encode(messages.truncate(item, heard_ms)))
            self._memory.cut(item, heard_ms / reply.received_ms)
            reply.received_ms = heard_ms
        if item:
            self._drop(item)

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that can be dropped of this speaker; see `VoiceEngine`. A model that owns its turns cannot forget."""
        self.drop(speaker)

    async def pause(self) -> None:
        """Drop what people said and nobody has answered, and stop speaking; see `VoiceEngine`."""
        if not self._dialect.full_duplex:
            self._clear()
            self._stop_speaking()

    def drop(self, speaker: SpeakerId) -> None:
        """As `forget`, at once."""
        gone = self._memory.forget(speaker)
        gone += [item for item, reply in self._replies.items() if speaker in reply.people]
        if self._is_loud_since(speaker, 0.0):
            self._forgotten |= {speaker}
        for item, utterance in self._utterances.items():
            if speaker in utterance.people or (not utterance.committed and self._is_loud_since(speaker, utterance.begin_ms)):
                utterance.people |= {speaker}
                gone.append(item)
        if self._dialect.full_duplex:
            return
        if self._speech in gone or self._is_loud_since(speaker, max(self._committed_ms, self._spoken.now_ms - LATE_MS)):
            self._clear()
        if speaker in self._asked_by or any(item in gone for item in self._replies):
            self._stop_speaking()
        for item in dict.fromkeys(gone):
            self._utterances.pop(item, None)
            self._replies.pop(item, None)  # what does not exist any more is not truncated
            self._drop(item)
            self._send(messages.encode(messages.delete(item)))

    def reset(self) -> None:
        """Forget everything that was said, and stop speaking."""
        gone = [*self._memory.clear(), *self._utterances, *self._replies]
        if self._dialect.full_duplex:  # vLLM-Omni, found in a call that was taken for one with turns: its model begins anew
            self._send(messages.encode(messages.cancel("")))
        else:
            self._clear()
            self._stop_speaking()
            for item in dict.fromkeys(gone):
                self._send(messages.encode(messages.delete(item)))
        self._utterances.clear()
        self._replies.clear()

    # One session after another

    async def _open_session(self) -> None:
        self._begin_session()
        settings, dialect = self._settings, self._dialect
        client = RealtimeClient(
            dialect,
            url=dialect.url(settings.url, settings.model),
            headers=dialect.headers(settings.key),
            clock=self._clock,
            on_fact=lambda fact: self._take(client, fact),
        )
        self._client = client
        wishes = {"model": settings.model, "turn_detection": settings.turn_detection, "transcription_model": settings.transcription_model}
        try:
            await client.open(
                messages.opening(dialect, self._persona, **wishes),  # type: ignore[arg-type] # the three are what it asks for
                messages.opening(dialect, self._persona, **wishes, plain=True),  # type: ignore[arg-type] # likewise
                patience_s=SILENT_S if settings.may_be_duplex else SESSION_TIMEOUT_S,
            )
        except EngineError:
            self._wait(client.retry_after_s)
            raise
        self._sessions.add()
        if not dialect.full_duplex:
            self._memory.begin_session()
            for item in messages.remembered(self._memory):
                client.send(messages.encode(item))
        log.info("engine listens", server=dialect.service, dialect=dialect.name)

    async def _succeed(self) -> None:
        """Where a session ends by the service's clock, open the next; every other end is the call's to judge."""
        while True:
            await self._over.wait()
            self._over.clear()
            ending = self._ending or endings.left(self._dialect.service)
            if self._client is not None:
                await self._client.close()
            if ending.cause != endings.EXPIRED or self._clock.now() - self._began_at < SHORTEST_SESSION_S:
                self._close(ending)
                return
            self._ending = None
            if self._floor.release():
                self._playback.resume(self._clock.now())
                self._outbox.put(PlaybackResumed())
            log.info("a session is over, the next one begins", server=self._dialect.service)
            try:
                await self._open_session()
            except EngineError as fault:
                self._close(endings.SessionEnding(str(fault), retry=fault.retry, cause=fault.cause))
                return
            except Exception:
                log.exception("the next session failed")
                self._close(endings.failed(self._dialect.service, "internal"))
                return

    # What the server says

    def _take(self, client: RealtimeClient, fact: Fact) -> None:
        if client is not self._client or self._closed:
            return
        self._heard_at = self._clock.now()
        match fact:
            case ReplySound():
                self._take_sound(client, fact)
            case ReplyWords():
                self._take_words(fact)
            case PersonWords(item, text, final):
                self._take_transcript(item, text, final=final)
            case Over(ending):
                self._ending = ending
                self._over.set()
            case Ready(creates_replies, _):
                self._server_creates = creates_replies
            case MessageRefused():
                self._take_refusal(fact)
            case _:
                self._take_turn(fact)

    def _take_turn(self, fact: Fact) -> None:
        """Who speaks, as the server sees it."""
        match fact:
            case SpeechBegan(item, at_ms):
                if self._is_clearing:
                    return
                self._speech = item
                at_ms = at_ms if at_ms <= self._spoken.now_ms else self._estimated_begin_ms  # the server's clock is another one
                over_reply = self._is_sounding or (self._floor.speaking and self._floor.over_reply)
                self._keep(item, HeardItem(at_ms, over_reply=over_reply, cut=self._floor.has_cut and self._floor.speaking))
            case SpeechEnded(item, at_ms):
                self._speech = None
                if item in self._utterances:
                    self._utterances[item].end_ms = min(at_ms, self._spoken.now_ms)
            case Committed(item):
                self._take_commit(item)
            case Cleared():
                self._clears = max(0, self._clears - 1)
            case ReplyBegan(response):
                self._begin_reply(response)
            case ReplyEnded():
                self._take_end(fact)

    def _take_sound(self, client: RealtimeClient, fact: ReplySound) -> None:
        if not fact.pcm or fact.response in self._dropped or fact.item in self._dropped:
            return
        if fact.item not in self._replies:
            people = self._running.get(fact.response, self._asked_by)
            self._replies[fact.item] = ReplyItem(fact.response, people=people)
            drop_oldest(self._replies, MOST_ITEMS)
            self._up = Upsampler(channels=1) if not self._dialect.full_duplex else self._up
            self._memory.open("assistant", fact.item, people)
        self._progress_at = self._clock.now()
        length_ms = len(fact.pcm) / SAMPLE_BYTES / RATE_HZ * 1000
        self._replies[fact.item].received_ms += length_ms
        self._playback.add(length_ms, self._clock.now())
        if len(self._outbox) >= MOST_EVENTS:
            client.exceed("sound")
            return
        self._outbox.put(Audio(self._up.convert(fact.pcm), item=fact.item))

    def _take_words(self, fact: ReplyWords) -> None:
        if len(self._outbox) >= MOST_EVENTS or fact.response in self._dropped or fact.item in self._dropped:
            return
        if fact.text:
            self._progress_at = self._clock.now()
        if fact.item:
            self._memory.open("assistant", fact.item, self._running.get(fact.response, self._asked_by))
            self._memory.add(fact.item, fact.text)
        if fact.text or fact.final:
            self._outbox.put(Text(fact.text, final=fact.final, item=fact.item))

    def _take_transcript(self, item: str, text: str, *, final: bool) -> None:
        """What somebody said. A piece is told when all of it is known: the pieces of several people come in any order."""
        if self._dialect.live:
            now_ms = self._spoken.now_ms
            begin_ms = max(0.0, now_ms - LATE_MS)
            if not self._forgotten & self._spoken.speakers(begin_ms, now_ms):
                speaker = self._spoken.speaker(begin_ms, now_ms)
                self._outbox.put(Text(text, role="person", speaker=speaker, began_at=self._moment(begin_ms)))
            return
        utterance = self._utterances.get(item)
        if not final or utterance is None or not text or (self._forgotten and not utterance.people and utterance.committed):
            return
        if not utterance.committed:
            self._find_people(utterance)
            if utterance.people & self._forgotten:
                return
            self._memory.open("user", item, utterance.people)
        self._memory.put(item, text)
        self._outbox.put(
            Text(text, role="person", speaker=utterance.speaker, final=True, item=item, began_at=self._moment(utterance.begin_ms))
        )

    def _take_commit(self, item: str) -> None:
        """Somebody has finished: answer, unless it was a sound over a reply that did not cut it off."""
        if self._speech == item:
            self._speech = None
        utterance = self._utterances.get(item)
        if utterance is None:
            utterance = HeardItem(self._estimated_begin_ms, over_reply=self._floor.over_reply, cut=self._floor.has_cut)
            self._keep(item, utterance)
        elif utterance.committed and utterance.end_ms is not None and not self._spoken.voiced_ms(utterance.end_ms, self._spoken.now_ms):
            return  # a second time
        utterance.committed = True
        end_ms = self._find_people(utterance)
        self._committed_ms = max(self._committed_ms, end_ms)
        unwanted = self._is_clearing or item in self._dropped or utterance.people & self._forgotten
        if unwanted or self._is_cough(utterance, end_ms):
            self._send(messages.encode(messages.delete(item)))
            self._memory.drop(item)
            del self._utterances[item]
            return
        if utterance.over_reply and not utterance.cut and self._is_sounding:
            self._stop_speaking()  # the server has heard them late
        self._asked_by = utterance.people | (self._asked_by if self._unanswered else frozenset())
        self._unanswered = True
        self._memory.open("user", item, utterance.people)
        if self._server_creates:
            return
        if self._running:
            self._create_next = True
            self._cancel_replies()
        else:
            self._create()

    def _find_people(self, utterance: HeardItem) -> float:
        """Note who said it, and until when."""
        begin_ms = utterance.begin_ms
        end_ms = self._spoken.now_ms if utterance.end_ms is None else utterance.end_ms
        if not self._spoken.speakers(begin_ms, end_ms):  # likewise
            begin_ms, end_ms = min(begin_ms, self._estimated_begin_ms), self._spoken.now_ms
        utterance.begin_ms = begin_ms
        utterance.people, utterance.speaker = self._spoken.speakers(begin_ms, end_ms), self._spoken.speaker(begin_ms, end_ms)
        if utterance.committed:
            utterance.end_ms = end_ms
        return end_ms

    @property
    def _estimated_begin_ms(self) -> float:
        """When the newest utterance began, by the sound that was sent."""
        return max(0.0, self._spoken.now_ms - self._floor.voiced_ms - END_OF_SPEECH_MS)

    def _is_cough(self, utterance: HeardItem, end_ms: float) -> bool:
        """Whether it was a short sound over a reply that did not cut it off."""
        return utterance.over_reply and not utterance.cut and self._spoken.voiced_ms(utterance.begin_ms, end_ms) < CUT_MS

    def _create(self) -> None:
        self._create_next = False
        self._creating += 1
        self._progress_at = self._clock.now()
        self._send(messages.encode(messages.CREATE))

    def _begin_reply(self, response: str) -> None:
        """A reply to something that was said, or one that nobody wants: to a cough, or a second one where the server answers by itself."""
        if response in self._running:
            return
        wanted, asked = self._unanswered or self._dialect.full_duplex, self._creating > 0
        self._unanswered, self._creating = False, max(0, self._creating - 1)
        self._running[response] = self._asked_by
        self._progress_at = self._clock.now()
        drop_oldest(self._running, MOST_ITEMS)
        self._dropped.pop(response, None)
        if wanted:
            return
        self._server_creates = self._server_creates or not asked
        self._drop(response)
        self._send(messages.encode(messages.cancel(response)))

    def _take_end(self, fact: ReplyEnded) -> None:
        known = fact.response in self._running
        due = known or self._running or self._creating
        self._progress_at = self._clock.now()
        if known:
            del self._running[fact.response]
        else:
            self._running.clear()
            self._creating = 0
        self._tokens_in.add(fact.tokens_in)
        self._tokens_out.add(fact.tokens_out)
        if fact.failure is not None:
            if not fact.failure.retry:
                self._ending = fact.failure
                self._over.set()
            elif due and fact.response not in self._dropped:
                self._tell_failure(fact.failure.cause)
        if self._create_next and not self._running:
            self._create()

    def _tell_failure(self, cause: str) -> None:
        if len(self._outbox) < MOST_EVENTS:
            self._outbox.put(Problem(f"{self._dialect.service} could not answer. Ask again.", service="engine", cause=cause))

    def _take_refusal(self, fact: MessageRefused) -> None:
        """Logged once for each code: a server may refuse every piece of sound."""
        code, parameter = fact.code, fact.parameter
        if code == "conversation_already_has_active_response":
            self._creating = 0
        elif code == "response_cancel_not_active":
            self._running.clear()
            if self._create_next:
                self._create()
        elif fact.event == messages.CREATE["event_id"] and self._creating:
            self._creating = 0
            self._tell_failure(code)
        if code not in endings.HARMLESS and code not in self._refusals and len(self._refusals) < MOST_REFUSALS:
            self._refusals.add(code)
            log.warning("the server refuses a message", server=self._dialect.service, cause=code, parameter=parameter)

    # Whose turn it is

    @property
    def _is_sounding(self) -> bool:
        return self._playback.is_sounding(self._clock.now())

    def _watch_floor(self, *, loud: bool) -> None:
        by_server = self._settings.turn_detection != "none"
        decision = self._floor.tick(loud=loud, sounding=self._is_sounding, server_hears=self._speech is not None or not by_server)
        now = self._clock.now()
        if decision is Floor.HOLD:
            self._playback.hold(now)
            self._outbox.put(PlaybackHeld())
        elif decision is Floor.RESUME:
            self._playback.resume(now)
            self._outbox.put(PlaybackResumed())
        elif decision is Floor.CUT:
            if self._speech in self._utterances:
                self._utterances[self._speech].cut = True
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
        self._drop_replies()

    def _drop_replies(self) -> None:
        """No word of the replies that are being made, or were asked for, is wanted any more."""
        self._create_next = self._unanswered = False
        self._cancel_replies()

    def _cancel_replies(self) -> None:
        for response in self._running:
            self._drop(response)
            self._send(messages.encode(messages.cancel(response)))

    def _drop(self, name: str) -> None:
        self._dropped[name] = None
        drop_oldest(self._dropped, MOST_ITEMS)

    @property
    def _is_clearing(self) -> bool:
        """What the server says of people is of before it was told to clear."""
        return self._clears > 0 and self._spoken.now_ms < self._clears_until_ms

    def _clear(self) -> None:
        """Drop what the server has heard and not committed. A commit may cross this on its way."""
        self._send(messages.encode(messages.CLEAR))
        self._speech, self._uncommitted = None, False
        self._clears, self._clears_until_ms = self._clears + 1, self._spoken.now_ms + LATE_MS

    def _watch_server(self, client: RealtimeClient) -> None:
        duplex = self._dialect.full_duplex
        since, patience_s = (self._heard_at, DUPLEX_STALL_S) if duplex else (self._progress_at, STALL_S)
        waited_s = self._clock.now() - since
        if waited_s >= patience_s and (duplex or self._running or self._creating):
            client.stalled(waited_s)

    # Small things

    def _send(self, text: str) -> None:
        if self._client is not None and not self._closed:
            self._client.send(text)

    def _keep(self, item: str, utterance: HeardItem) -> None:
        if not self._utterance_budget.take(1, self._clock.now()) and self._client is not None:
            self._client.exceed("utterances")
        self._utterances[item] = utterance
        drop_oldest(self._utterances, MOST_ITEMS)

    def _is_loud_since(self, speaker: SpeakerId, begin_ms: float) -> bool:
        return self._spoken.is_loud_since(speaker, begin_ms)

    def _moment(self, at_ms: float) -> float:
        """When so much of the session's sound had been sent, in seconds of the clock; a pause of ours makes it an estimate."""
        return self._clock.now() - (self._spoken.now_ms - at_ms) / 1000

    def _close(self, ending: endings.SessionEnding) -> None:
        if not self._closed:
            self._closed = True
            self._outbox.put(Closed(ending.reason, retry=ending.retry, cause=ending.cause))
