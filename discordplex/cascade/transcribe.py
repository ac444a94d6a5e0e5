"""Transcribe: what a person said, as text."""

import io
import re
import wave
from typing import Final

from discordplex.audio.format import SAMPLE_BYTES
from discordplex.cascade.clients import Clients, once_more
from discordplex.cascade.faults import StageError, no_api_error, stage_error
from discordplex.cascade.segmenter import EARS
from discordplex.cascade.stage import Stage
from discordplex.clock import Clock

PATH: Final = "/audio/transcriptions"
NO_WORDS: Final = re.compile(r"\W*([\[(][^\])]*[\])]\W*)*", re.DOTALL)
"""What whisper.cpp and its like write where nobody spoke: nothing, or [BLANK_AUDIO], (music)."""

HEARD_NOTHING: Final = (
    "The transcription found no words in what was said. If that happens often: speak closer to the microphone, "
    'or name your language, as in cascade.transcribe.extra = { language = "de" }.'
)


class Transcriber:
    """One call's transcription stage."""

    def __init__(self, clients: Clients, stage: Stage, clock: Clock) -> None:
        self._clients = clients
        self._stage = stage
        self._clock = clock

    async def text_of(self, pcm: bytes) -> str:
        """The words in EARS PCM. Raises StageError, also where there are none."""
        file = ("speech.wav", wav_of(pcm), "audio/wav")
        stage = self._stage
        body = {"model": stage.model, "response_format": "json"}
        try:
            answer = await once_more(lambda: self._clients.post(stage, PATH, body, file=file), stage, self._clock)
        except Exception as error:
            raise stage_error(error, stage) from error
        text = answer.get("text") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise no_api_error(stage)  # the SDK hands a web page over as it is
        if NO_WORDS.fullmatch(text):
            raise StageError(HEARD_NOTHING, stage=stage.name)
        return " ".join(text.split())


def wav_of(pcm: bytes) -> bytes:
    """EARS PCM as a WAV file."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(EARS.channels)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(EARS.rate_hz)
        file.writeframes(pcm)
    return target.getvalue()
