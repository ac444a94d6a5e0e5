"""One turn: the reply is spoken, piece by piece and in order, while it is still being written."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint_if_cancelled

from discordplex.cascade.chunker import FIRST_CHUNK_CHARACTERS, Chunker
from discordplex.cascade.faults import StageError
from discordplex.cascade.speak import Speaker
from discordplex.cascade.speakable import HiddenFilter, spoken
from discordplex.cascade.think import Thinker

REQUESTS_AHEAD = 2
"""Pieces whose sound is being made at once: the next one is ready when one ends, and little is paid for what is cut off."""
LONGEST_REPLY_CHARACTERS = 4000
"""Four minutes of speech; a model that writes more has lost its way."""

NOTHING_TO_SAY = "The chat model failed: it wrote nothing that can be said aloud. Look at cascade.think.model and cascade.text_prompt."


class Mouth(Protocol):
    """Where a turn's words and sound go."""

    async def begin(self, text: str) -> None:
        """The sound of this piece comes next."""
        ...

    async def sound(self, pcm: bytes) -> None:
        """ENGINE PCM of that piece."""
        ...

    async def room(self) -> None:
        """Return once more sound is of use."""
        ...


@dataclass(slots=True)
class Ordered:
    """A piece whose sound is being made; `sound` ends with None or with why it failed."""

    text: str
    sound: "asyncio.Queue[bytes | StageError | None]" = field(default_factory=asyncio.Queue)


End: TypeAlias = StageError | None
"""The end of a reply, and what broke it off."""


class Turn:
    """One reply. Run it once; cancelling it really closes its requests."""

    def __init__(
        self, *, thinker: Thinker, speaker: Speaker, voice: str, mouth: Mouth, first_chunk_chars: int = FIRST_CHUNK_CHARACTERS
    ) -> None:
        self._thinker = thinker
        self._speaker = speaker
        self._voice = voice
        self._mouth = mouth
        self._chunker = Chunker(first_characters=first_chunk_chars)
        self._written: asyncio.Queue[str | End] = asyncio.Queue()
        self._ordered: asyncio.Queue[Ordered | End] = asyncio.Queue()
        self._slots = asyncio.Semaphore(REQUESTS_AHEAD)

    async def run(self, messages: Sequence[Mapping[str, str]]) -> None:
        """Return when all of the reply was handed to the mouth.

        Raises:
            StageError: thinking or speaking failed; what came before it was said.
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, messages, name="cascade:think")
            tasks.start_soon(self._order, tasks, name="cascade:order")
            fault = await self._say()
            tasks.cancel_scope.cancel()
        if fault is not None:
            raise fault

    async def _write(self, messages: Sequence[Mapping[str, str]]) -> None:
        """The reply's text into pieces."""
        await checkpoint_if_cancelled()  # cut off before the loop came here: then not even a first byte goes out
        hidden, length, pieces = HiddenFilter(), 0, 0
        try:
            async with contextlib.aclosing(self._thinker.reply_to(messages)) as deltas:
                async for delta in deltas:
                    length += len(delta)
                    pieces += self._put(self._chunker.feed(hidden.feed(delta)))
                    if length > LONGEST_REPLY_CHARACTERS:
                        break
        except StageError as fault:
            pieces += self._put(self._chunker.finish())
            self._written.put_nowait(fault)
            return
        pieces += self._put(self._chunker.feed(hidden.finish())) + self._put(self._chunker.finish())
        self._written.put_nowait(None if pieces else StageError(NOTHING_TO_SAY, stage="think"))

    def _put(self, chunks: Iterable[str]) -> int:
        """Pass on the pieces that hold something to be said; how many."""
        pieces = [chunk for chunk in chunks if spoken(chunk)]
        for piece in pieces:
            self._written.put_nowait(piece)
        return len(pieces)

    async def _order(self, tasks: TaskGroup) -> None:
        """A request for each piece, as many at once as is good."""
        while isinstance(text := await self._written.get(), str):
            await self._slots.acquire()
            await self._mouth.room()
            piece = Ordered(text)
            self._ordered.put_nowait(piece)
            tasks.start_soon(self._fetch, piece, name="cascade:speak")
        self._ordered.put_nowait(text)

    async def _fetch(self, piece: Ordered) -> None:
        try:
            await checkpoint_if_cancelled()
            async with contextlib.aclosing(self._speaker.sound_of(spoken(piece.text), self._voice)) as sound:
                async for pcm in sound:
                    piece.sound.put_nowait(pcm)
            piece.sound.put_nowait(None)
        except StageError as fault:
            piece.sound.put_nowait(fault)
        finally:
            self._slots.release()

    async def _say(self) -> End:
        """One piece after the other; what broke the reply off."""
        while isinstance(piece := await self._ordered.get(), Ordered):
            if (fault := await self._say_piece(piece)) is not None:
                return fault
        return piece

    async def _say_piece(self, piece: Ordered) -> End:
        begun = False
        while isinstance(sound := await piece.sound.get(), bytes):
            if not begun:
                await self._mouth.begin(piece.text)
                begun = True
            await self._mouth.sound(sound)
        return sound
