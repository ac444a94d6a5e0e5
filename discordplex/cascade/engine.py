"""CascadeEngine: the engine port over three services. Speech input in front, a dialogue behind it, and supervision of both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Final

import anyio
import structlog
from typing_extensions import Self

from discordplex.cascade.dialogue import Dialogue
from discordplex.cascade.history import History
from discordplex.cascade.outbox import Outbox
from discordplex.cascade.reasoning import ReasoningFormat
from discordplex.cascade.speak import Synthesizer
from discordplex.cascade.think import ChatModel
from discordplex.cascade.turn import ReplyOutput, Turn
from discordplex.clock import Clock
from discordplex.config import CascadeConfig
from discordplex.engine import Closed, EngineCaps, EngineEvent, EngineReady, Persona, Problem, SpeakerId, until_closed
from discordplex.errors import ConfigError, EngineError, LocalProtocolError
from discordplex.hearing.detector import DetectorPool
from discordplex.hearing.segmenter import Discarded, Endpointing, SegmenterEvent, SpeechStarted, Utterance
from discordplex.hearing.speech_input import SpeechInput
from discordplex.hearing.transcriber import Transcriber
from discordplex.metrics import Metrics
from discordplex.services.clients import Clients
from discordplex.services.service import Service
from discordplex.tracing import TraceSpan

log = structlog.get_logger()

SPOKEN_MANNERS: Final = (
    "Everything you write is spoken aloud in a voice channel: answer in the language you are spoken to, in a few short sentences, "
    "without markdown, lists or emoji. What people say comes with the speaker's name in front; never write a name in front yourself."
)
"""Appended to every persona's prompt."""

INTERNAL: Final = "The cascade engine stopped because of an internal error; the log has the cause."
LEFT: Final = "The conversation with the cascade engine was ended."


class CascadeEngine:
    """One conversation; do not open it twice. What was said is in `history`, which outlives it."""

    caps = EngineCaps(realtime_paced=False, kind="cascade")

    def __init__(
        self,
        *,
        config: CascadeConfig,
        persona: Persona,
        history: History,
        name_of: Callable[[SpeakerId], str],
        detectors: DetectorPool,
        reasoning_format: ReasoningFormat,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._persona = persona
        self._history = history
        self._name_of = name_of
        self._detectors = detectors
        self._reasoning_format = reasoning_format
        self._clock = clock
        self._metrics = metrics
        self._outbox = Outbox()
        self._speech_input = SpeechInput(detectors, Endpointing(end_of_speech_ms=config.end_of_speech_ms), metrics=metrics)
        self._clients: Clients | None = None
        self._dialogue: Dialogue | None = None
        self._work: asyncio.Task[None] | None = None
        self._opened = False
        self._closed = False
        self._left = False

    @property
    def is_open(self) -> bool:
        """Whether it was entered and not left, even if it has failed."""
        return self._opened and not self._left

    async def __aenter__(self) -> Self:
        """Return once it listens. Asks no server anything yet. Raises EngineError where the extra is not installed."""
        if self._opened:
            raise LocalProtocolError("an engine is opened once; make a new one")
        self._opened = True
        services = Service.of(self._config, "transcribe"), Service.of(self._config, "think"), Service.of(self._config, "speak")
        try:
            self._clients = await asyncio.to_thread(Clients, services)
            await self._detectors.fill()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            if isinstance(error, ConfigError):
                raise EngineError(str(error), retry=False, cause=getattr(error, "cause", "not installed")) from error
            raise
        self._dialogue = self._converse(self._clients, *services)
        self._outbox.put(EngineReady())
        self._work = asyncio.create_task(self._live(self._dialogue), name="cascade")
        log.info("engine ready", transcribe=services[0].host, think=services[1].host, speak=services[2].host)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End every request and drop who spoke, whatever happened."""
        self._close(Closed(LEFT, cause="left"))
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._speech_input.forget_everybody()
        if self._clients is not None:
            await self._clients.close()
        self._left = True

    def push(self, frames: Mapping[SpeakerId, bytes]) -> None:
        """Take one tick of what people say; see `VoiceEngine.push`."""
        if self._closed or self._dialogue is None:
            return
        try:
            for speaker, event in self._speech_input.push(frames):
                self._on_speech(self._dialogue, speaker, event)
            self._dialogue.goes_on(self._speech_input.voiced_ms)
        except Exception as error:  # noqa: BLE001 -- the edge of the engine: the call decides whether to open another
            self._fail(error)

    def events(self) -> AsyncIterator[EngineEvent]:
        """The engine's events in order, from EngineReady to Closed. One consumer."""
        return until_closed(self._outbox.take)

    def end(self, closed: Closed) -> None:
        """End the conversation at once, as if it had failed."""
        self._close(closed)

    async def interrupt(self, item: str = "", played_ms: float | None = None) -> None:
        """Stop speaking; of the reply, remember what was heard."""
        if self._dialogue is not None:
            self._dialogue.interrupt(item, played_ms)

    async def forget(self, speaker: SpeakerId) -> None:
        """Drop all that is held of this speaker; see `VoiceEngine`. Sound that is pushed later is heard again."""
        self.drop(speaker)
        await self._stopped()

    async def pause(self) -> None:
        """Drop all that was said and not answered, and stop speaking; see `VoiceEngine`."""
        self._speech_input.forget_everybody()
        if self._dialogue is not None:
            self._dialogue.pause()
        await self._stopped()

    def drop(self, speaker: SpeakerId) -> None:
        """As `forget`, without waiting for the requests that it cancels."""
        self._speech_input.forget(speaker)
        self._history.forget(speaker)
        if self._dialogue is not None:
            self._dialogue.forget(speaker)

    def reset(self) -> None:
        """Forget everything that was said, answered or not, and stop speaking. Does not wait for the requests that it cancels."""
        self._speech_input.forget_everybody()
        self._history.reset()
        if self._dialogue is not None:
            self._dialogue.reset()

    async def _stopped(self) -> None:
        if self._dialogue is not None:
            await self._dialogue.stopped()

    def _on_speech(self, conversation: Dialogue, speaker: SpeakerId, event: SegmenterEvent) -> None:
        match event:
            case SpeechStarted():
                conversation.began(speaker)
            case Utterance():
                conversation.ended(speaker, event)
            case Discarded():
                conversation.ended(speaker, None)

    def _converse(self, clients: Clients, transcribe: Service, think: Service, speak: Service) -> Dialogue:
        chat_model = ChatModel(clients, think, self._clock)
        synthesizer = Synthesizer(clients, speak, self._clock, rate_hz=self._config.speak.rate_hz)
        voice = self._persona.voice or self._config.speak.voice

        def new_turn(output: ReplyOutput, span: TraceSpan) -> Turn:
            return Turn(
                chat_model=chat_model,
                synthesizer=synthesizer,
                voice=voice,
                output=output,
                first_chunk_chars=self._config.first_chunk_chars,
                reasoning_format=self._reasoning_format,
                span=span,
            )

        return Dialogue(
            transcriber=Transcriber(clients, transcribe, self._clock),
            new_turn=new_turn,
            system_prompt=f"{self._persona.text_prompt}\n\n{SPOKEN_MANNERS}",
            history=self._history,
            name_of=self._name_of,
            speaking=self._speech_input.speaking,
            outbox=self._outbox,
            clock=self._clock,
            metrics=self._metrics,
        )

    async def _live(self, conversation: Dialogue) -> None:
        """Run both halves of the dialogue and keep the detector pool filled; where one fails, the engine closes and says why."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(conversation.listen, name="cascade:listen")
                tasks.start_soon(conversation.talk, name="cascade:talk")
                tasks.start_soon(self._detectors.keep_filled, name="cascade:detectors")
        except Exception as error:  # noqa: BLE001 -- the edge of the engine, as above
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        log.error("cascade failed", exc_info=error)
        if not self._closed:
            self._outbox.put(Problem(INTERNAL))
        self._close(Closed(INTERNAL, cause="internal"))

    def _close(self, closed: Closed) -> None:
        if not self._closed:
            self._closed = True
            self._outbox.put(closed)
