"""The real ears: real detector in its thread, real SDK, real HTTP, the clip's sentences."""

import asyncio
import subprocess
import sys

import pytest

from discordplex.audio.format import ENGINE
from discordplex.clock import SystemClock
from discordplex.config import CascadeConfig
from discordplex.engine import Problem, Text
from discordplex.errors import ConfigError
from discordplex.hearing import detector
from discordplex.hearing.provider import Hearing
from discordplex.installing import pip_extra
from discordplex.loopback.openai.log import RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI
from discordplex.loopback.timeouts import Changes
from discordplex.metrics import Metrics
from tests.hearing.speech import frames_of, pause, sentences


async def test_what_two_people_say_reaches_the_server_and_comes_back(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Two sentences at the same time are two files of one sentence each."""
    told: list[Text | Problem] = []
    changes = Changes()

    def tell(one: Text | Problem) -> None:
        told.append(one)
        changes.tell()

    ears = Hearing(config, clock=SystemClock()).ears(lambda: True, Metrics())
    running = asyncio.create_task(ears.run(tell))
    first, second = frames_of(sentences()[0] + pause(900)), frames_of(sentences()[1] + pause(900))
    length = max(len(first), len(second))
    for number in range(length):
        ears.push({speaker: frames[number] for speaker, frames in ((1, first), (2, second)) if number < len(frames)})
    await changes.until(lambda: len(told) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(one.speaker for one in told if isinstance(one, Text) and one.speaker) == [1, 2]
    sent = sorted(record.body["file_ms"] for record in server.log.of(RequestReceived))
    spoken = sorted(ENGINE.duration_ms(len(one)) for one in sentences()[:2])
    assert all(abs(file_ms - spoken_ms) < 500 for file_ms, spoken_ms in zip(sent, spoken, strict=True))


def test_people_are_told_the_model_and_never_an_address() -> None:
    """The name that the owner chose, else the model's, else only what kind of service it is."""

    def name(chosen: str = "", model: str = "whisper-1") -> str:
        config = CascadeConfig.model_validate({"base_url": "http://10.0.0.7:8000/v1", "transcribe": {"model": model}})
        return Hearing(config, name=chosen, clock=SystemClock()).name

    assert name() == "a transcription service (whisper-1)"
    assert name(model="/srv/models/whisper") == "a transcription service"
    assert name("Whisper, run by Ann") == "Whisper, run by Ann"


def test_ears_that_are_switched_off_are_not_imported() -> None:
    """Nor is the SDK, for a bot with any engine but the cascade."""
    code = """
import sys
from discordplex import app
from discordplex.clock import SystemClock
from discordplex.config import Config
assert app.ears_provider(Config(), SystemClock()) is None
assert app.summarizer(Config(), SystemClock()) is None
print([name for name in sys.modules if name.startswith(("discordplex.hearing", "discordplex.services", "discordplex.cascade", "openai"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 -- our own code
    assert done.stdout.strip() == "[]"


def test_without_the_extra_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the command that installs it."""
    monkeypatch.setattr(detector, "is_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"hearing.enabled need packages .* discordplex\[cascade\]\.$") as caught:
        Hearing(CascadeConfig(), clock=SystemClock())
    assert caught.value.full.endswith(pip_extra("cascade"))
