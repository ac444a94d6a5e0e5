"""One turn of the engine: the reply is spoken, chunk by chunk and in order, while it is still being written."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from discordplex.cascade.chunker import FIRST_CHUNK_CHARACTERS, Chunker
from discordplex.cascade.reasoning import ReasoningFilter, ReasoningFormat, Spoken
from discordplex.cascade.speak import Synthesizer
from discordplex.cascade.speakable import spoken
from discordplex.cascade.think import ChatModel
from discordplex.services.faults import ServiceError
from discordplex.tracing import FIRST_CHUNK, NO_SPAN, TraceSpan

REQUESTS_AHEAD = 2
"""Chunks requested at once: the next one is ready when one ends, and a cut-off wastes little."""
PIECES_HELD: Final = 3
"""Chunks requested or waiting for those before them: where one of them stalls, the sound of the others does not pile up."""
WORKED_ON_AT_ONCE: Final = 500
"""Characters of a reply processed between two steps of the loop, which then waits for 3 ms at most: a whole reply may come in one delta."""
LONGEST_REPLY_CHARACTERS: Final = 4000
"""Limit of what is spoken of one reply: four minutes. Reasoning does not count."""

NOTHING_TO_SAY = "The chat model failed: it wrote nothing that can be spoken. Check cascade.think.model and cascade.text_prompt."
ENDLESS: Final = (
    f"The chat model writes too much: its reply was cut after {LONGEST_REPLY_CHARACTERS} characters. "
    "Ask for short answers in cascade.text_prompt, or check cascade.think.model."
)


class ReplyOutput(Protocol):
    """Receives the words and the sound of a turn."""

    async def begin(self, text: str) -> None:
        """The sound of this chunk comes next."""
        ...

    async def sound(self, pcm: bytes) -> None:
        """ENGINE PCM of that chunk."""
        ...

    async def room(self) -> None:
        """Return once more sound can be taken."""
        ...

    def retract(self) -> None:
        """Nothing that came was meant to be spoken; the reply begins anew."""
        ...


@dataclass(slots=True)
class Ordered:
    """A chunk whose sound was requested; `sound` ends with None or with the error."""

    text: str
    sound: "asyncio.Queue[bytes | ServiceError | None]" = field(default_factory=asyncio.Queue)


End: TypeAlias = ServiceError | None
"""The end of a reply: None, or the error that ended it."""


class Speech:
    """Chunks of text in, their sound to the output, in order."""

    def __init__(self, synthesizer: Synthesizer, voice: str, output: ReplyOutput, span: TraceSpan) -> None:
        self._synthesizer = synthesizer
        self._voice = voice
        self._output = output
        self._span = span
        self._written: asyncio.Queue[str | End] = asyncio.Queue()
        self._ordered: asyncio.Queue[Ordered | End] = asyncio.Queue()
        self._requests = asyncio.Semaphore(REQUESTS_AHEAD)
        self._held = asyncio.Semaphore(PIECES_HELD)
        self._scope = anyio.CancelScope()

    def put(self, piece: str | End) -> None:
        """Add the next chunk, or the end."""
        self._written.put_nowait(piece)

    def retract(self) -> None:
        """Stop speaking and end the requests; `run` returns."""
        self._scope.cancel()

    async def run(self) -> End:
        """Return when all was given to the output, with the error where there was one."""
        fault: End = None
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._order, tasks, name="cascade:order")
                fault = await self._say()
                tasks.cancel_scope.cancel()
        return fault

    async def _order(self, tasks: TaskGroup) -> None:
        """Request the sound of each chunk, up to `REQUESTS_AHEAD` at once."""
        while isinstance(text := await self._written.get(), str):
            await self._held.acquire()
            await self._requests.acquire()
            await self._output.room()
            piece = Ordered(text)
            self._ordered.put_nowait(piece)
            tasks.start_soon(self._fetch, piece, name="cascade:speak")
        self._ordered.put_nowait(text)

    async def _fetch(self, piece: Ordered) -> None:
        try:
            await checkpoint_if_cancelled()
            with self._synthesizer.service.span_below(self._span) as span:
                async with contextlib.aclosing(self._synthesizer.sound_of(spoken(piece.text), self._voice)) as sound:
                    async for pcm in sound:
                        span.note_elapsed(FIRST_CHUNK)
                        piece.sound.put_nowait(pcm)
            piece.sound.put_nowait(None)
        except ServiceError as fault:
            piece.sound.put_nowait(fault)
        finally:
            self._requests.release()

    async def _say(self) -> End:
        """Play one chunk after the other; returns the error that ended the reply."""
        while isinstance(piece := await self._ordered.get(), Ordered):
            if (fault := await self._say_piece(piece)) is not None:
                return fault
            self._held.release()
        return piece

    async def _say_piece(self, piece: Ordered) -> End:
        begun = False
        while isinstance(sound := await piece.sound.get(), bytes):
            if not begun:
                await self._output.begin(piece.text)
                begun = True
            await self._output.sound(sound)
        return sound


class Turn:
    """One reply. Run it once; cancelling it ends its requests."""

    def __init__(
        self,
        *,
        chat_model: ChatModel,
        synthesizer: Synthesizer,
        voice: str,
        output: ReplyOutput,
        first_chunk_chars: int = FIRST_CHUNK_CHARACTERS,
        reasoning_format: ReasoningFormat | None = None,
        span: TraceSpan = NO_SPAN,
    ) -> None:
        """`span` is what its requests are traced below."""
        self._chat_model = chat_model
        self._synthesizer = synthesizer
        self._voice = voice
        self._output = output
        self._span = span
        self._speech = Speech(synthesizer, voice, output, span)
        self._thoughts = ReasoningFilter(reasoning_format)
        self._chunker = Chunker(first_characters=first_chunk_chars)
        self._characters = 0
        self._pieces = 0

    async def run(self, messages: Sequence[Mapping[str, str]]) -> None:
        """Return when all of the reply was given to the output.

        Raises:
            ServiceError: thinking or speaking failed; what came before that was spoken.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, messages, name="cascade:think")
            while True:
                speech = self._speech
                fault = await speech.run()
                if speech is self._speech:
                    break
                self._output.retract()
            tasks.cancel_scope.cancel()
        if fault is not None:
            raise fault

    async def _write(self, messages: Sequence[Mapping[str, str]]) -> None:
        """Cut the reply's text into chunks."""
        await checkpoint_if_cancelled()  # cut off before the first step: then not even one byte is sent
        end: End = None
        worked_on = 0
        try:
            async with contextlib.aclosing(self._deltas(messages)) as deltas:
                async for delta in deltas:
                    for start in range(0, len(delta), WORKED_ON_AT_ONCE):
                        piece = delta[start : start + WORKED_ON_AT_ONCE]
                        self._take(self._thoughts.feed(piece))
                        worked_on += len(piece)
                        if worked_on >= WORKED_ON_AT_ONCE:
                            worked_on = 0
                            await checkpoint()
                    if self._characters > LONGEST_REPLY_CHARACTERS:
                        end = ServiceError(ENDLESS, service="think", cause="too much text")
                        break
        except ServiceError as fault:
            end = fault
        if end is None:
            self._take(self._thoughts.finish())
        self._put(self._chunker.finish())
        if end is None and not self._pieces:
            end = ServiceError(NOTHING_TO_SAY, service="think", cause="nothing to say")
        self._speech.put(end)

    async def _deltas(self, messages: Sequence[Mapping[str, str]]) -> AsyncGenerator[str, None]:
        """The reply as it is written, traced."""
        with self._chat_model.service.span_below(self._span) as span:
            async with contextlib.aclosing(self._chat_model.reply_to(messages)) as deltas:
                async for delta in deltas:
                    span.note_elapsed(FIRST_CHUNK)
                    yield delta

    def _take(self, spoken: Sequence[Spoken]) -> None:
        """Handle text that is to be spoken, and the news that earlier text was not."""
        for one in spoken:
            if isinstance(one, str):
                left = LONGEST_REPLY_CHARACTERS - self._characters
                self._characters += len(one)
                self._put(self._chunker.feed(one[: max(0, left)]))
            else:
                self._restart_speech()

    def _restart_speech(self) -> None:
        self._chunker.drop()
        self._characters = self._pieces = 0
        old, self._speech = self._speech, Speech(self._synthesizer, self._voice, self._output, self._span)
        old.retract()

    def _put(self, chunks: Iterable[str]) -> None:
        """Pass on the chunks that contain words."""
        for chunk in chunks:
            if spoken(chunk):
                self._pieces += 1
                self._speech.put(chunk)
