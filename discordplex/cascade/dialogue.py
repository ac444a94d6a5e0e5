"""Dialogue: what people said, answered one turn after the other, and what the engine does when people interrupt."""

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from discordplex.audio.playback import LAG_S, Playback
from discordplex.cancellable import CancellableWork
from discordplex.cascade.bargein import BargeIn
from discordplex.cascade.history import History, Message
from discordplex.cascade.outbox import Outbox
from discordplex.cascade.reply import Reply
from discordplex.cascade.turn import ENDLESS, ReplyOutput, Turn
from discordplex.clock import Clock
from discordplex.engine import Audio, Interrupted, PlaybackHeld, PlaybackResumed, Problem, SpeakerId, Text
from discordplex.fifo import Fifo
from discordplex.hearing.segmenter import Utterance
from discordplex.hearing.speech_input import PendingUtterance
from discordplex.hearing.transcriber import Transcriber
from discordplex.metrics import Metrics
from discordplex.plaintext import one_line, visible
from discordplex.services.faults import ServiceError
from discordplex.tracing import END_REASON, OPERATION, TURN, TraceSpan

log = structlog.get_logger()

MOST_WAITING: Final = 8
MOST_WAITING_BYTES: Final = 2 << 20
"""Limits of the utterances that wait: their number, and a minute of sound. Beyond either the oldest is dropped: fresh speech matters more
than complete speech."""
LONGEST_WORDS_CHARACTERS: Final = 4000
"""Limit of the words of one utterance, which lasts at most half a minute; the rest of the transcript is cut off."""
AHEAD_S: Final = 20.0
"""Sound handed over before it is heard; more would be paid for and cut off."""

TOO_MUCH = "People say more than I can answer, so I skip what was said first. Please speak one after the other."


@dataclass(frozen=True, slots=True)
class PendingWords:
    """Words that wait to be answered."""

    speaker: SpeakerId
    text: str
    at: float
    turn: TraceSpan


class Dialogue(ReplyOutput):
    """The dialogue of one call. `listen` and `talk` run as long as it lives; the other methods report events. Thread: loop.

    Metrics: `cascade.utterances`, `cascade.dropped`, `cascade.replies`, `cascade.holds`, `cascade.cuts`, `cascade.faults`;
    `cascade.transcribe_ms`, and `cascade.first_audio_ms` from the decision that somebody has finished to the answer's first sound.
    """

    def __init__(
        self,
        *,
        transcriber: Transcriber,
        new_turn: Callable[[ReplyOutput, TraceSpan], Turn],
        system_prompt: str,
        history: History,
        name_of: Callable[[SpeakerId], str],
        speaking: Callable[[], Iterable[SpeakerId]],
        outbox: Outbox,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`speaking` says who speaks at this moment."""
        self._transcriber = transcriber
        self._new_turn = new_turn
        self._system_prompt = system_prompt
        self._history = history
        self._name_of = name_of
        self._speaking = speaking
        self._outbox = outbox
        self._clock = clock
        self._call = metrics.span
        self._heard: Fifo[PendingUtterance] = Fifo()
        self._said: Fifo[PendingWords] = Fifo()
        self._overflowed = False
        self._endless = False
        """Whether people were told that the model does not stop."""
        self._numbers = itertools.count(1)
        self._playback = Playback()
        self._moved = asyncio.Event()
        self._barge_in = BargeIn()
        self._reply: Reply | None = None
        self._last: Reply | None = None
        self._transcribing: CancellableWork | None = None
        self._answering: CancellableWork | None = None
        self._unanswered: SpeakerId | None = None
        self._asked_at: float | None = None
        self._utterances = metrics.counter("cascade.utterances")
        self._dropped = metrics.counter("cascade.dropped")
        self._replies = metrics.counter("cascade.replies")
        self._holds = metrics.counter("cascade.holds")
        self._cuts = metrics.counter("cascade.cuts")
        self._faults = metrics.counter("cascade.faults")
        self._transcribe_ms = metrics.histogram("cascade.transcribe_ms")
        self._first_audio_ms = metrics.histogram("cascade.first_audio_ms")

    # What people do

    def began(self, speaker: SpeakerId) -> None:
        """Somebody certainly speaks: playback is held."""
        now = self._clock.now()
        if self._reply is not None and self._barge_in.began(speaker, sounding=self._playback.is_sounding(now)):
            self._playback.hold(now)
            self._holds.add()
            self._outbox.put(PlaybackHeld())

    def goes_on(self, voiced_ms: Callable[[SpeakerId], float]) -> None:
        """One tick: whoever has spoken long enough during the engine's turn cuts it off."""
        reply = self._reply
        if reply is not None and any(self._barge_in.is_cut_by(one, voiced_ms(one), reply.asker) for one in self._barge_in.speakers):
            self._cut(reply)

    def ended(self, speaker: SpeakerId, utterance: Utterance | None) -> None:
        """Somebody has finished; None where it was too short to be words."""
        reply, voiced_ms = self._reply, utterance.voiced_ms if utterance else None
        keep = utterance is not None
        if reply is not None:
            decision = self._barge_in.ended(speaker, voiced_ms, reply.asker)
            keep = decision.keep
            if decision.cut:
                self._cut(reply)
            elif decision.resume:
                self._resume()
        if keep and utterance is not None:
            self._utterances.add()
            self._make_room(len(utterance.pcm))
            now = self._clock.now()
            turn = self._call.child(TURN, {OPERATION: TURN})
            self._heard.put(PendingUtterance(speaker, utterance.pcm, began_at=now - utterance.lasted_ms / 1000, at=now, turn=turn))

    def interrupt(self, item: str, played_ms: float | None) -> None:
        """A reply was interrupted after `played_ms`. Where people asked for that, nothing that waits is answered."""
        reply = self._last
        if item and (reply is None or item != reply.item):
            return
        if self._reply is not None or not item:
            self._drop_unanswered()
        if self._reply is not None:
            self._stop(self._reply)
        if reply is not None and played_ms is not None:
            reply.heard_ms = played_ms

    # What people ask to be forgotten. None of these waits for cancelled requests; `stopped` does.

    def forget(self, speaker: SpeakerId) -> None:
        """Drop all that waits of this person, cancel the requests that carry it, and stop the reply that was made from it.

        The caller has removed them from the history before. Where the stopped reply answered somebody else and was not heard yet, their
        question is asked again without this person's words.
        """
        self._drop(lambda one: one.speaker == speaker)
        if self._transcribing is not None and speaker in self._transcribing.sources:
            self._transcribing.cancel()
        if self._unanswered == speaker:
            self._unanswered = None
        if self._last is not None and speaker in self._last.sources:
            self._last = None
        reply = self._reply
        if reply is not None and speaker in reply.sources:
            self._cut(reply)
            self._unanswered = reply.asker if reply.asker != speaker and not reply.pieces else None
        elif self._barge_in.forget(speaker):
            self._resume()
        self._outbox.forget(speaker)

    def pause(self) -> None:
        """Drop all that was said and not answered, cancel the requests that carry it, and stop speaking."""
        self._drop_unanswered()
        self._outbox.drop_unanswered()
        if self._reply is not None:
            self._cut(self._reply)

    def reset(self) -> None:
        """As `pause`, and the current reply is not remembered. The caller resets the history."""
        self.pause()
        self._last = None

    async def stopped(self) -> None:
        """Return once every cancelled request has ended."""
        for request in (self._transcribing, self._answering):
            if request is not None and request.cancelled:
                await request.ended()

    # What the engine does

    async def listen(self) -> None:
        """Transcribe utterances in the order in which they ended."""
        while True:
            heard = await self._heard.take()
            self._transcribing = CancellableWork(frozenset({heard.speaker}))
            with self._transcribing as request:
                await self._transcribe(heard, request)
            if request.cancelled:
                end_turn(heard.turn, "interrupted")

    async def _transcribe(self, heard: PendingUtterance, request: CancellableWork) -> None:
        started = self._clock.now()
        try:
            with self._transcriber.service.span_below(heard.turn):
                text = await self._transcriber.text_of(heard.pcm)
        except ServiceError as fault:
            if not request.cancelled:
                self._tell(fault, request.sources)
            heard.turn.fail(fault.cause)
            heard.turn.end()
            return
        if request.cancelled:
            return
        self._transcribe_ms.record((self._clock.now() - started) * 1000)
        words = one_line(text[: 2 * LONGEST_WORDS_CHARACTERS], LONGEST_WORDS_CHARACTERS)
        item = f"said-{next(self._numbers)}"
        said = Text(words, role="person", speaker=heard.speaker, final=True, item=item, began_at=heard.began_at)
        self._outbox.put(said, request.sources)
        self._said.put(PendingWords(heard.speaker, words, heard.at, heard.turn))

    async def talk(self) -> None:
        """Answer what was said, one turn at a time; the next turn begins when the last one was heard."""
        while True:
            said = await self._said.take()
            self._overflowed = self._overflowed and self._waiting > 0
            self._settle()
            self._history.add(Message("user", said.text, name=self._name_of(said.speaker), sources=frozenset({said.speaker})))
            self._asked_at = said.at
            self._unanswered = said.speaker
            with said.turn as turn:
                turn.note({END_REASON: "session_closed"})  # unless it is known better
                while (asker := self._unanswered) is not None:
                    self._unanswered = None
                    await self._answer(Reply(f"reply-{next(self._numbers)}", asker, self._history.sources), turn)

    async def begin(self, text: str) -> None:
        """See ReplyOutput."""
        await self._outbox.room()
        if (reply := self._reply) is not None:
            self._outbox.put(Text(visible(reply.begin(text)), item=reply.item), reply.sources)

    async def sound(self, pcm: bytes) -> None:
        """See ReplyOutput."""
        await self._outbox.room()
        if (reply := self._reply) is None:
            return
        now = self._clock.now()
        if self._asked_at is not None:
            self._first_audio_ms.record((now - self._asked_at) * 1000)
            self._asked_at = None
        self._playback.add(reply.add(pcm), now)
        self._outbox.put(Audio(pcm, item=reply.item), reply.sources)

    async def room(self) -> None:
        """See ReplyOutput."""
        while (over_s := self._playback.left_s(self._clock.now()) - AHEAD_S) > 0:
            await self._pass(over_s)

    def retract(self) -> None:
        """See ReplyOutput."""
        reply = self._reply
        if reply is not None and reply.pieces:
            self._outbox.drop(reply.item)
            self._outbox.put(Interrupted(reply.item), reply.sources)
            self._playback.cut(self._clock.now())
            self._barge_in.over()
            self._moved.set()
            reply.pieces.clear()
            reply.item = f"reply-{next(self._numbers)}"

    async def _answer(self, reply: Reply, turn: TraceSpan) -> None:
        """Give one reply, until it was heard or cut off."""
        self._reply = self._last = reply
        self._answering = CancellableWork(reply.sources)
        self._replies.add()
        for speaker in self._speaking():
            self.began(speaker)  # whoever still speaks may finish
        with self._answering:
            try:
                await self._new_turn(self, turn).run(self._history.as_chat(self._system_prompt))
                reply.whole = True
            except ServiceError as fault:
                turn.fail(fault.cause)
                if self._reply is reply:
                    self._tell(fault, reply.sources)
            await self._outbox.room()
            if reply.pieces and self._reply is reply:
                self._outbox.put(Text("", final=True, item=reply.item), reply.sources)
            while self._playback.is_sounding(self._clock.now()):
                await self._pass(self._playback.left_s(self._clock.now()) + LAG_S)
        turn.note({END_REASON: "completed" if self._reply is reply else "interrupted"})
        if self._reply is reply:
            self._reply = None
            if self._barge_in.over():
                self._resume()

    async def _pass(self, seconds: float) -> None:
        """Wait until `seconds` of playback have passed, or less."""
        if self._playback.held:
            self._moved.clear()
            await self._moved.wait()
        else:
            await self._clock.sleep_until(self._clock.now() + seconds)

    def _cut(self, reply: Reply) -> None:
        """A person cut the reply off."""
        self._cuts.add()
        self._stop(reply)
        self._outbox.put(Interrupted(reply.item))

    def _stop(self, reply: Reply) -> None:
        """End the turn: cancel its requests and drop its sound that waits."""
        now = self._clock.now()
        reply.heard_ms = max(0.0, reply.sound_ms - self._playback.left_s(now) * 1000)
        self._reply = None
        self._outbox.drop(reply.item)
        self._playback.cut(now)
        self._barge_in.over()
        self._moved.set()
        if self._answering is not None:
            self._answering.cancel()

    def _resume(self) -> None:
        self._playback.resume(self._clock.now())
        self._moved.set()
        self._outbox.put(PlaybackResumed())

    def _settle(self) -> None:
        """Add the last reply to the history, as far as it was heard. Called late, since where it was cut is known a little later."""
        reply, self._last = self._last, None
        if reply is not None and (text := reply.heard()):
            self._history.add(Message("assistant", text, sources=reply.sources))

    def _drop_unanswered(self) -> None:
        self._drop(lambda _: True)
        self._unanswered = None
        if self._transcribing is not None:
            self._transcribing.cancel()

    def _drop(self, unwanted: Callable[[PendingUtterance | PendingWords], bool]) -> None:
        """Drop what waits and is unwanted."""
        for one in (*self._heard, *self._said):
            if unwanted(one):
                end_turn(one.turn, "interrupted")
        self._heard.drop(unwanted)
        self._said.drop(unwanted)

    def _make_room(self, size: int) -> None:
        """Drop the oldest words and sound, so that an utterance of `size` bytes can wait."""
        while self._waiting >= MOST_WAITING or (self._waiting and self._waiting_bytes + size > MOST_WAITING_BYTES):
            turn = next(one.turn for one in (*self._said, *self._heard))
            turn.fail("too much waits")
            turn.end()
            (self._said if len(self._said) else self._heard).drop_oldest()
            self._dropped.add()
            if not self._overflowed:
                self._overflowed = True
                self._outbox.put(Problem(TOO_MUCH, service="transcribe"))

    @property
    def _waiting(self) -> int:
        return len(self._heard) + len(self._said)

    @property
    def _waiting_bytes(self) -> int:
        return sum(len(heard.pcm) for heard in self._heard)

    def _tell(self, fault: ServiceError, sources: frozenset[SpeakerId]) -> None:
        """A service failed: tell people. The next turn is tried as usual."""
        self._faults.add()
        if str(fault) == ENDLESS:
            if self._endless:
                return
            self._endless = True
        log.warning("service failed", service=fault.service, cause=fault.cause)
        self._outbox.put(Problem(str(fault), service=fault.service, cause=fault.cause), sources)


def end_turn(turn: TraceSpan, reason: str) -> None:
    """A turn is over before it was answered."""
    turn.note({END_REASON: reason})
    turn.end()
