"""The cascade and the realtime engine at a server that others wrote: aimock, which checks what OpenAI checks and answers in its shapes.

Run by `make interop`, which installs aimock.
"""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from pydantic import SecretStr

from discordplex.audio.format import ENGINE, MODEL
from discordplex.audio.wav import read_wav
from discordplex.config import BotConfig, CascadeConfig, RealtimeConfig
from discordplex.engine import Text
from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.person.timeline import peak
from discordplex.loopback.discord.world.model import User
from discordplex.realtime.provider import RealtimeProvider
from tests.audio import signals
from tests.audio.signals import pcm, samples
from tests.end_to_end.sound import CLIP
from tests.home import home_with
from tests.realtime.harness import ANNA, Call

pytestmark = pytest.mark.interop

MODULES = Path(__file__).parents[2] / ".interop" / "node_modules"
SERVER = Path(__file__).with_name("openai.cjs")
KEY = "sk-interop-0123456789"

HEARD = ["What a day it was.", "Tell me more of it.", "And then?", "Are you there?"]
ANSWER, NO_HURRY, AGAIN = "Oh yes, indeed it was.", "All in good time.", "I am here again."
BROKEN = "I would tell you all of it, but"
PIECES_HZ = {"Oh yes,": 440, "indeed it was.": 440, NO_HURRY: 660, "I w": 550, AGAIN: 880}
"""What is asked to be spoken, or a part of it, and the pitch of what comes."""
TURNS = [(ANSWER, 440, 2), (NO_HURRY, 660, 1), ("The chat model failed", 550, 1), (AGAIN, 880, 1)]
"""Each turn's answer in the channel, the pitch of its sound, and of how many pieces that is."""
SOUND_S = 0.8
AUDIBLE = 2000


def tone(pitch_hz: float) -> str:
    """Sound as the API's `pcm`, in base64."""
    return base64.b64encode(pcm(signals.tone(SOUND_S, hz=pitch_hz, rate_hz=MODEL.rate_hz))).decode()


def fixtures() -> list[dict[str, Any]]:
    """Four sentences are heard. The second's reply is refused once with 429, the third's breaks off in the middle."""
    heard = [
        {"match": {"endpoint": "transcription", "sequenceIndex": index}, "response": {"transcription": {"text": text}}}
        for index, text in enumerate(HEARD)
    ]
    busy = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}, "status": 429, "retryAfter": 1}
    thought: list[dict[str, Any]] = [
        {"match": {"endpoint": "chat", "userMessage": HEARD[0]}, "response": {"content": ANSWER}},
        {"match": {"endpoint": "chat", "userMessage": HEARD[1], "sequenceIndex": 0}, "response": busy},
        {"match": {"endpoint": "chat", "userMessage": HEARD[1]}, "response": {"content": NO_HURRY}},
        {"match": {"endpoint": "chat", "userMessage": HEARD[2]}, "response": {"content": BROKEN}, "truncateAfterChunks": 3, "latency": 20},
        {"match": {"endpoint": "chat", "userMessage": HEARD[3]}, "response": {"content": AGAIN}},
    ]
    said = [
        {"match": {"endpoint": "speech", "userMessage": text}, "response": {"audio": tone(pitch_hz), "format": "pcm"}}
        for text, pitch_hz in PIECES_HZ.items()
    ]
    return heard + thought + said


class Aimock:
    """The server; `url` is where it is."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def journal(self, path: str) -> list[dict[str, Any]]:
        """The requests that it got at an endpoint, and what it did with each."""
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(self.url, headers=headers) as client, client.get("/__aimock/journal") as answer:
            return [entry for entry in await answer.json() if entry["path"] == f"/v1{path}"]


@asynccontextmanager
async def aimock(fixtures: list[dict[str, Any]]) -> AsyncIterator[Aimock]:
    """It runs, and answers from these. Skips the test where it is not installed."""
    if not (MODULES / "@copilotkit" / "aimock").is_dir():
        pytest.skip("aimock is not installed here; `make interop` does that")
    node = shutil.which("node")
    assert node
    environment = dict(os.environ) | {"NODE_PATH": str(MODULES), "KEY": KEY}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(node, str(SERVER), env=environment, stdin=pipe, stdout=pipe)
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(json.dumps(fixtures).encode() + b"\n")
        line = await timeouts.wait_for(process.stdout.readline(), 20)
        assert line, "aimock did not start"
        yield Aimock(json.loads(line)["url"])
    finally:
        process.stdin.close()
        await process.wait()


def newest(person: Person, user: User, milliseconds: float) -> bytes:
    """What somebody said aloud last, as the person heard it."""
    pcm = b"".join(packet.pcm for packet in person.heard.packets(user.id) if peak(packet.pcm) > AUDIBLE)
    return pcm[-ENGINE.bytes_of_ms(milliseconds) :]


def pitch_of(pcm: bytes) -> float:
    """The strongest frequency in ENGINE PCM."""
    spectrum = np.abs(np.fft.rfft(samples(pcm)))
    return float(np.argmax(spectrum) * ENGINE.rate_hz / (len(pcm) // ENGINE.sample_bytes))


async def test_a_call_is_held_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It transcribes, thinks and speaks; after a 429 with Retry-After and after a reply that breaks off, the call goes on."""
    sentence = read_wav(CLIP)[: ENGINE.bytes_of_ms(3000)]
    async with (
        aimock(fixtures()) as server,
        home_with(
            monkeypatch=monkeypatch,
            bot=BotConfig(captions_of_people=True),
            cascade=CascadeConfig(base_url=f"{server.url}/v1", api_key=SecretStr(KEY)),
        ) as home,
    ):
        channel, ada = home.lounge, home.discord.people[0]
        async with Person(home.discord, ada, channel.id) as person:
            await home.says(channel, "Go ahead")
            for words, (answer, pitch_hz, pieces) in zip(HEARD, TURNS, strict=True):
                audible_s = person.heard.audible_s(home.bot.id)
                await person.say(sentence)
                await home.says(channel, f"{ada.name}: {words}")
                await home.says(channel, answer)
                await person.wait_for_audio(home.bot.id, audible_s + 0.9 * SOUND_S * pieces)
                assert abs(pitch_of(newest(person, home.bot, 400)) - pitch_hz) < 10
        asked = await server.journal("/chat/completions")
        assert [entry["response"]["status"] for entry in asked] == [200, 429, 200, 200, 200]
        assert [(entry["body"]["model"], entry["body"]["stream"]) for entry in asked] == [("gpt-4o-mini", True)] * 5
        told = [[message["content"] for message in entry["body"]["messages"][1:]] for entry in asked]
        assert told[1] == told[2] == [f"{ada.name}: {HEARD[0]}", ANSWER, f"{ada.name}: {HEARD[1]}"]
        assert [entry["response"]["status"] for entry in await server.journal("/audio/transcriptions")] == [200] * 4
        assert [entry["response"]["status"] for entry in await server.journal("/audio/speech")] == [200] * len(PIECES_HZ)


async def test_the_realtime_engine_is_understood_by_it() -> None:
    """A session, its settings, a turn and its answer; then no quota. aimock has no VAD and answers in text, so the bot ends the turns."""
    no_more = {
        "error": {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"},
        "status": 429,
    }
    answers: list[dict[str, Any]] = [
        {"match": {"endpoint": "realtime", "sequenceIndex": 0}, "response": {"content": ANSWER}},
        {"match": {"endpoint": "realtime", "sequenceIndex": 1}, "response": no_more},
    ]
    clock = FakeClock()
    async with aimock(answers) as server:
        settings = RealtimeConfig(url=f"{server.url}/v1", api_key=SecretStr(KEY), model="gpt-realtime-2", turn_detection="none")
        call = Call(RealtimeProvider(settings, clock=clock), clock)
        async with call.engine:
            listening = asyncio.create_task(call.listen())
            await call.say(1000, ANNA)
            await call.say(1500)
            await call.until(lambda call: any(text.final for text in call.told(Text)))
            assert "".join(text.text for text in call.told(Text)) == ANSWER
            await call.say(1000, ANNA)
            await call.say(1500)
            assert (await call.closed()).cause == "no quota"
            await listening
        asked = await server.journal("/realtime")
    assert [entry["response"]["status"] for entry in asked] == [200, 429]
    assert [message["content"] for message in asked[1]["body"]["messages"]] == ["You are a test.", ANSWER]
