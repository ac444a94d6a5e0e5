"""Speak: a piece of the reply to sound, while it is made."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

from discordplex.audio.format import ENGINE
from discordplex.cascade.clients import Clients, once_more
from discordplex.cascade.faults import failed, refuse_page, stage_error
from discordplex.cascade.sound import SpeechSound, UnknownSoundError
from discordplex.cascade.stage import Stage
from discordplex.clock import Clock

LONGEST_SOUND_MS = 90_000
"""For a piece of at most 220 characters: a server that sends more has lost its way."""


class Speaker:
    """One call's speech stage."""

    def __init__(self, clients: Clients, stage: Stage, clock: Clock) -> None:
        self._clients = clients
        self._stage = stage
        self._clock = clock

    async def sound_of(self, text: str, voice: str) -> AsyncGenerator[bytes, None]:
        """ENGINE PCM of `text`, as it comes. Raises StageError. Close it where it is left early: the request ends then."""
        stage, length = self._stage, 0
        try:
            async with contextlib.AsyncExitStack() as answers:
                response = await once_more(lambda: answers.enter_async_context(self._ask(text, voice)), stage, self._clock)
                content_type = response.headers.get("content-type", "")
                refuse_page(content_type, stage, "html", "json")
                sound = SpeechSound(content_type)
                async for data in response.iter_bytes():
                    pcm = sound.feed(data)
                    length += len(pcm)
                    refuse_endless(length, stage)
                    if pcm:
                        yield pcm
                rest = sound.finish()
        except UnknownSoundError as error:
            raise failed(stage, unplayable(str(error))) from error
        except Exception as error:
            raise stage_error(error, stage) from error
        if not length and not rest:
            raise failed(stage, f"sent no sound. Look at {stage.model_setting} and cascade.speak.voice.")
        if rest:
            yield rest

    def _ask(self, text: str, voice: str) -> contextlib.AbstractAsyncContextManager[Any]:
        create: Any = self._clients.of(self._stage).audio.speech.with_streaming_response.create  # typed by the names of OpenAI's own voices
        options = self._clients.options(self._stage)
        made: contextlib.AbstractAsyncContextManager[Any] = create(
            input=text, model=self._stage.model, voice=voice, response_format="pcm", **options
        )
        return made


def refuse_endless(length: int, stage: Stage) -> None:
    """Raise StageError where more bytes of sound came than a piece of text can be."""
    if ENGINE.duration_ms(length) > LONGEST_SOUND_MS:
        raise failed(stage, "does not stop speaking. Try another server.")


def unplayable(name: str) -> str:
    """What to do about sound of another kind than we asked for."""
    return f'sends {name}, which is not played here. Try cascade.speak.extra = {{ response_format = "wav" }}, or another server.'
