"""Speak: a chunk of the reply to sound, streamed while it is made."""

import asyncio
import base64
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Final

from discordplex.audio.format import ENGINE
from discordplex.cascade.sound import SpeechSound, TooMuchSoundError, UnknownSoundError
from discordplex.clock import Clock
from discordplex.services.clients import Clients, Request
from discordplex.services.faults import failed, no_api_error, raise_error_in
from discordplex.services.response import ServiceResponse
from discordplex.services.response import worked as read
from discordplex.services.service import Service

PATH: Final = "/audio/speech"
LONGEST_SOUND_MS: Final = 90_000
"""Limit for one chunk, however long its text."""
BEFORE_SOUND_MS: Final = 15_000
CHARACTER_MS: Final = 1_000
"""Limit per character. A slow voice takes 100 ms for a letter, up to 300 for a digit or a Chinese character; a chunk has at most 220."""
SLICE_BYTES: Final = 8_192
"""Bytes decoded at once where that is cheap: 170 ms of PCM, in a quarter of a millisecond."""
HARD_SLICE_BYTES: Final = 1_024
"""Bytes decoded at once where that is expensive."""
LONGEST_EVENT_BYTES: Final = 6 << 20
"""Limit of one event with base64 sound in JSON: `LONGEST_SOUND_MS` of PCM is 5.8 MB. Some 30 MB are held while it is decoded."""
SOUND_FIELDS: Final = ("audio", "delta", "data", "audioContent", "audio_base64", "b64_json")
"""The fields in which servers put sound inside JSON."""


HEX: Final = re.compile(r"(?:[0-9a-f]{2}){32,}")
"""Some of 64 characters of base64 would not be hexadecimal digits."""
OTHER_ALPHABET: Final = str.maketrans("-_", "+/", " \t\r\n\f\v")
"""Removes white space without making a list of words, which for a long text would take a hundred times its bytes."""


class Synthesizer:
    """The speech service of one call."""

    def __init__(self, clients: Clients, service: Service, clock: Clock, *, rate_hz: int | None = None) -> None:
        """`rate_hz` is the rate of sound without a header, where the settings give one."""
        self._clients = clients
        self.service = service
        self._clock = clock
        self._rate_hz = rate_hz

    async def sound_of(self, text: str, voice: str) -> AsyncGenerator[bytes, None]:
        """Stream `text` as ENGINE PCM, in pieces of at least a frame. Raises ServiceError.

        Close the generator if you leave it early: that ends the request.
        """
        service, found, any_sound = self.service, bytearray(), False
        body = {"model": service.model, "input": text, "voice": voice, "response_format": "pcm"}
        async with self._clients.ask(service, Request(PATH, body), self._clock) as answer:
            try:
                async with contextlib.aclosing(self._decoded(answer, longest_ms(text))) as pieces:
                    async for pcm in pieces:
                        found += pcm
                        if len(found) >= ENGINE.frame_bytes:
                            any_sound = True
                            yield bytes(found)
                            found.clear()
            except UnknownSoundError as error:
                raise failed(service, unplayable(str(error), service), "unplayable sound") from error
            except TooMuchSoundError as error:
                raise failed(service, "does not stop speaking. Try another server.", "too much sound") from error
        if found:
            yield bytes(found)
        elif not any_sound:
            raise failed(service, f"sent no sound. Check {service.model_setting} and {service.setting('voice')}.", "no sound")

    async def _decoded(self, answer: ServiceResponse, most_ms: float) -> AsyncGenerator[bytes, None]:
        """The answer's sound, decoded. Expensive decoding runs in a thread, a little at a time."""
        blocks = await self._unwrapped(answer)
        sound = SpeechSound(answer.content_type, rate_hz=self._rate_hz, longest_ms=most_ms)
        async for block in blocks:
            start = 0
            while start < len(block):
                cheap = sound.is_cheap or sound.buffers_only
                end = start + (SLICE_BYTES if cheap else HARD_SLICE_BYTES)
                async for pcm in worked(sound.feed(block[start:end]), cheap=cheap):
                    yield pcm
                start = end
        async for pcm in worked(sound.finish(), cheap=sound.is_cheap):
            yield pcm

    async def _unwrapped(self, answer: ServiceResponse) -> AsyncIterator[bytes]:
        """The encoded sound without its wrapping. Raises ServiceError where the answer is a web page or an error message."""
        service, begin = self.service, await answer.begin()
        if await answer.is_page():
            raise no_api_error(service)
        is_json = begin.startswith(b"{") and begin[1:].lstrip().startswith(b'"')
        if is_json or "json" in answer.content_type or "event-stream" in answer.content_type:
            return wrapped_sound(answer.messages(LONGEST_EVENT_BYTES), service)
        return answer.blocks()


async def worked(pieces: Iterator[bytes], *, cheap: bool) -> AsyncIterator[bytes]:
    """The decoded pieces, decoded in a thread unless that is cheap; yields to the loop in between."""
    if cheap:
        for piece in pieces:
            yield piece
        await asyncio.sleep(0)
        return
    while (pcm := await asyncio.to_thread(next, pieces, None)) is not None:
        yield pcm


async def wrapped_sound(messages: AsyncIterator[Any], service: Service) -> AsyncIterator[bytes]:
    """Sound that comes as base64 in JSON."""
    async for message in messages:
        raise_error_in(message, service)
        size = sum(len(value) for value in message.values() if isinstance(value, str)) if isinstance(message, Mapping) else 0
        yield await read(size, sound_in, message)


def sound_in(message: Any) -> bytes:
    """The sound in one message, b"" where it has none."""
    if not isinstance(message, Mapping):
        return b""
    for name in SOUND_FIELDS:
        value = message.get(name)
        if isinstance(value, Mapping):
            return sound_in(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                return bytes_in(value)
    return b""


def bytes_in(text: str) -> bytes:
    """The bytes in base64 of either alphabet, perhaps without padding or as a data URL, or in hexadecimal digits.

    Else raises ValueError.
    """
    if text.startswith("data:"):
        text = text.partition(",")[2]
    if HEX.fullmatch(text):
        return bytes.fromhex(text)
    letters = text.translate(OTHER_ALPHABET).rstrip("=")
    return base64.b64decode(letters + "=" * (-len(letters) % 4))


def longest_ms(text: str) -> float:
    """How long the sound of a text may be."""
    return min(LONGEST_SOUND_MS, BEFORE_SOUND_MS + CHARACTER_MS * len(text))


def unplayable(name: str, service: Service) -> str:
    """What to do about sound of another kind than we asked for."""
    return f'sends {name}, which is not played here. Try {service.setting("extra")} = {{ response_format = "wav" }}, or another server.'
