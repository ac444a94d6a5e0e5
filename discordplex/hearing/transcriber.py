"""Transcribe: what a person said, as text."""

import contextlib
import re
from collections.abc import Mapping
from typing import Any, Final

from discordplex.audio.wav import wav_of
from discordplex.clock import Clock
from discordplex.hearing.segmenter import VAD
from discordplex.services.clients import Clients, Request
from discordplex.services.faults import ServiceError, failed, no_api_error, raise_error_in
from discordplex.services.response import ServiceResponse, json_messages
from discordplex.services.service import Service

PATH: Final = "/audio/transcriptions"
BRACKETS: Final = re.compile(r"\[[^\[\]]*\]|\([^()]*\)")
"""What whisper.cpp and similar servers write beside words and where nobody spoke: [BLANK_AUDIO], (music)."""
MOST_CHARACTERS: Final = 10_000
"""Limit of a transcript: ten times what anybody says in an utterance of a minute."""

HEARD_NOTHING: Final = (
    "The transcription found no words in what was said. If that happens often: speak closer to the microphone, "
    'or name your language, as in cascade.transcribe.extra = { language = "de" }.'
)


class Transcriber:
    """The transcription service of one call."""

    def __init__(self, clients: Clients, service: Service, clock: Clock) -> None:
        self._clients = clients
        self.service = service
        self._clock = clock

    async def close(self) -> None:
        """Close its clients; only for an owner who shares them with nobody. Never raises."""
        await self._clients.close()

    async def text_of(self, pcm: bytes) -> str:
        """The words in VAD PCM. Raises ServiceError, also where there are none."""
        service = self.service
        file = ("speech.wav", wav_of(pcm, VAD.rate_hz), "audio/wav")
        body = {"model": service.model, "response_format": "json"}
        async with self._clients.ask(service, Request(PATH, body, file), self._clock) as answer:
            text = await text_in(answer, service)
        if len(text) > MOST_CHARACTERS:
            raise failed(service, "wrote more text than anybody can have said. Try another server.", "too much text")
        if not has_words(text):
            raise ServiceError(HEARD_NOTHING, service=service.name, cause="no words")
        return " ".join(text.split())


async def text_in(answer: ServiceResponse, service: Service) -> str:
    """The text of an answer, which is JSON or plain text. Raises ServiceError for anything else, and for an error in the JSON."""
    if await answer.is_page():
        raise no_api_error(service)
    begin = await answer.begin()
    if "event-stream" in answer.content_type or begin.startswith((b"data:", b"event:")):
        return await streamed_text(answer, service)
    data = await answer.whole()
    if not begin.startswith(b"{") and "json" not in answer.content_type:
        return data.decode("utf-8", "replace")
    message: Any = next(json_messages(data, service)) if data.strip() else None
    raise_error_in(message, service)
    if isinstance(message, str):
        return message
    if not isinstance(message, dict) or not isinstance(message.get("text", 0), str | None):
        raise no_api_error(service)
    return message["text"] or ""


async def streamed_text(answer: ServiceResponse, service: Service) -> str:
    """The text of an answer that comes as events although we did not ask for them: deltas, segments, or all of it at the end."""
    text = ""
    async with contextlib.aclosing(answer.messages()) as messages:
        async for message in messages:
            raise_error_in(message, service)
            if not isinstance(message, Mapping):
                continue
            piece, whole = message.get("delta"), message.get("text")
            if isinstance(piece, str):
                text += piece
            elif isinstance(whole, str):
                text = whole if str(message.get("type")).endswith(".done") else f"{text} {whole}"
            if len(text) > MOST_CHARACTERS:
                break
    return text


def has_words(text: str) -> bool:
    """Whether there is a letter or a digit outside of brackets."""
    return any(map(str.isalnum, BRACKETS.sub("", text)))
