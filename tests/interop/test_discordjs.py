"""A real discord.js client with @discordjs/voice and davey, a person who speaks through libdave, and the bot, in one encrypted call.

Run by `make interop`, which installs discord.js.
"""

import asyncio
import base64
import functools
import hashlib
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from discordplex.audio.format import DISCORD
from discordplex.audio.opus import OpusEncoder
from discordplex.config import BotConfig
from discordplex.loopback import timeouts
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.world.model import Channel, User
from discordplex.loopback.personaplex.server import StandInServer
from tests.home import Home, home_with
from tests.voice.booth import noise

pytestmark = pytest.mark.interop

MODULES = Path(__file__).parents[2] / ".interop" / "node_modules"
CLIENT = Path(__file__).with_name("client.cjs")
FRAMES = 75
LINE_BYTES = 1 << 20
REPORTS, BETWEEN_REPORTS_S = 100, 0.1
SILENCES = 5
"""Of the end of speech."""
MISSED_AT_THE_START = 5
"""discord.js drops what arrives before Discord has said whose it is."""


class DiscordJs:
    """The Node process, told what to do by lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        assert process.stdout
        self._orders, self._answers = process.stdin, process.stdout

    async def order(self, **order: Any) -> None:
        self._orders.write(json.dumps(order).encode() + b"\n")
        await self._orders.drain()

    async def answer(self, event: str) -> Any:
        """The next line, which has to be this event."""
        line = await timeouts.wait_for(self._answers.readline(), 20)
        assert line, "the Node process is gone"
        found = json.loads(line)
        assert found["event"] == event, found
        return found

    async def report(self, condition: Callable[[Any], bool]) -> Any:
        """What it has heard, and its privacy code, once that is as it should be; asked again and again for some seconds."""
        for _ in range(REPORTS):
            await self.order(report=True)
            found = await self.answer("report")
            if condition(found):
                return found
            await asyncio.sleep(BETWEEN_REPORTS_S)  # another process: nothing here wakes when it hears something
        raise AssertionError(
            f"discord.js has heard { ({who: len(heard) for who, heard in found['heard'].items()}) }, {found['privacyCode']}"
        )


@asynccontextmanager
async def discord_js(home: Home, channel: Channel, user: User, *listen_to: User) -> AsyncIterator[DiscordJs]:
    """A bot of the other library in the channel, until it has left."""
    node = shutil.which("node")
    assert node
    environment = {
        "NODE_PATH": str(MODULES),
        "NODE_EXTRA_CA_CERTS": str(home.discord.ca_file),
        "API_URL": home.discord.api_url,
        "TOKEN": user.token,
        "GUILD_ID": channel.guild_id,
        "CHANNEL_ID": channel.id,
        "LISTEN_TO": ",".join(listener.id for listener in listen_to),
    }
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        node, str(CLIENT), env=dict(os.environ) | environment, limit=LINE_BYTES, stdin=pipe, stdout=pipe
    )
    try:
        script = DiscordJs(process)
        await script.answer("joined")
        yield script
        await script.order(leave=True)
        await script.answer("left")
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def digests(packets: list[bytes]) -> list[str]:
    return [hashlib.sha1(packet).hexdigest() for packet in packets]  # noqa: S324 - a name for a packet, not a secret


def all_but_the_first(said: list[str], heard: list[str]) -> bool:
    """Whether everything arrived, in order and once, except for some packets at the beginning."""
    caught = [digest for digest in heard if digest in said]
    return len(said) - len(caught) <= MISSED_AT_THE_START and caught == said[len(said) - len(caught) :]


async def bots_code(home: Home, channel: Channel, code: str) -> None:
    """Wait until the bot's greeting shows this privacy code."""
    await home.says(channel, " ".join(re.findall("[0-9]{5}", code)))


async def test_three_implementations_share_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """One privacy code on all three; what each says reaches the two others packet by packet, and both hear the bot's echo."""
    if not MODULES.is_dir():
        pytest.skip("discord.js is not installed here; `make interop` does that")
    world = LoopbackDiscord(voice=functools.partial(VoiceGatewayServer, dave=True))
    async with (
        StandInServer(mode="echo") as engine,
        home_with(engine, monkeypatch=monkeypatch, bot=BotConfig(hear_bots=True), discord=world) as home,
    ):
        channel, ada_user, js_user = home.lounge, home.discord.people[0], home.discord.bots[1]
        async with (
            Person(home.discord, ada_user, channel.id, e2ee="libdave") as ada,
            discord_js(home, channel, js_user, home.bot, ada_user) as script,
        ):
            await home.says(channel, "Go ahead")
            delivery = home.discord.voice.delivery(channel.id)
            assert delivery
            await home.discord.wait_for(lambda: delivery.settled and len(delivery.group.members) == 3)
            await ada.wait_until_encrypted()
            assert ada.member
            code = ada.member.privacy_code or ""
            await script.report(lambda report: report["privacyCode"] == code)
            await bots_code(home, channel, code)

            decrypted = home.metrics.counter("voice.rx.frames")
            await ada.say(noise(FRAMES, channels=1))
            await ada.wait_for_audio(home.bot.id, 0.9 * FRAMES / 50)
            await ada.wait_until(lambda: decrypted.value == FRAMES + SILENCES)
            said = digests(ada.said.opus())
            await script.report(lambda report: all_but_the_first(said, report["heard"][ada_user.id]))
            await script.report(lambda report: len(report["heard"][home.bot.id]) >= FRAMES - MISSED_AT_THE_START)

            packets = encoded(noise(FRAMES, seed=2))
            await script.order(say=[base64.b64encode(packet).decode() for packet in packets])
            await script.answer("said")
            await ada.wait_until(lambda: ada.heard.opus(js_user.id) == packets)
            await ada.wait_for_audio(home.bot.id, 1.8 * FRAMES / 50)
            sent = FRAMES + SILENCES + home.discord.voice.relay.received_from(js_user.id)
            await ada.wait_until(lambda: decrypted.value == sent)
            assert sent > 2 * FRAMES + SILENCES
            unread = [home.metrics.counter(f"voice.rx.{reason}").value for reason in ("unopened", "unencrypted", "lost", "corrupt")]
            assert unread == [0, 0, 0, 0]


def encoded(pcm: bytes) -> list[bytes]:
    encoder = OpusEncoder(bitrate=64_000)
    return [encoder.encode(pcm[at : at + DISCORD.frame_bytes]) for at in range(0, len(pcm), DISCORD.frame_bytes)]
