"""Encrypted calls with the whole bot in them: what people see of the encryption, and what they are told when it fails somebody."""

import functools
import re
from collections.abc import Callable

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.personaplex.server import StandInServer
from tests.home import Home, home_with
from tests.voice.pace import hurry_watchdog

encrypted_discord = functools.partial(LoopbackDiscord, voice=functools.partial(VoiceGatewayServer, dave=True))
PACE = 16


def hum(frames: int) -> bytes:
    """ENGINE PCM of a low tone."""
    moments = np.arange(frames * ENGINE.frame_samples) / ENGINE.rate_hz
    return (np.sin(2 * np.pi * 220 * moments) * 6000).astype("<i2").tobytes()


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog in a sixteenth of its time; tests/voice/test_deafness.py holds the true one to five seconds."""
    hurry_watchdog(monkeypatch, PACE)


async def connected_anew(home: Home, break_it: Callable[[], None]) -> None:
    """Break the bot's wire and wait until it stands again: on another connection, or in another session."""
    voice = home.discord.voice
    before = voice.participant(home.bot.id)
    assert before
    connections = before.connections
    break_it()

    def again() -> bool:
        now = voice.participant(home.bot.id)
        return now is not None and (now is not before or now.connections > connections)

    await home.discord.wait_for(again)


async def echoed(home: Home, ada: Person) -> None:
    """What a person says comes back to them."""
    delivery = home.discord.voice.delivery(ada.channel_id)
    assert delivery
    await home.discord.wait_for(lambda: delivery.settled and len(delivery.group.members) == 2)
    await ada.wait_until_encrypted()
    heard_s = ada.heard.audible_s(home.bot.id)
    await ada.say(hum(15))
    await ada.wait_for_audio(home.bot.id, heard_s + 0.2)


async def test_the_echo_survives_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greeted with the code that they see themselves, a person hears their echo; and again after 4015, a TCP reset and 4006."""
    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch, discord=encrypted_discord()) as home:
        channel, voice = home.lounge, home.discord.voice
        async with Person(home.discord, home.discord.people[0], channel.id, e2ee="libdave") as ada:
            await home.says(channel, "Go ahead")
            await echoed(home, ada)
            assert ada.member
            await home.says(channel, " ".join(re.findall("[0-9]{5}", ada.member.privacy_code or "")))
            for break_it in (
                lambda: voice.close_connection(home.bot.id, 4015),
                lambda: voice.reset_connection(home.bot.id),
                lambda: voice.close_connection(home.bot.id, 4006),
            ):
                await connected_anew(home, break_it)
                await echoed(home, ada)


@pytest.mark.usefixtures("hurried")
async def test_people_are_told_who_cannot_be_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's client encrypts with useless keys: after new keys and a new session the channel reads it, once, and when it is over."""
    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch, discord=encrypted_discord()) as home:
        channel, user = home.lounge, home.discord.people[0]
        async with Person(home.discord, user, channel.id, e2ee="libdave") as ada:
            await home.says(channel, "Go ahead")
            await ada.wait_until_encrypted()
            assert ada.member
            ada.member.spoil(key_changes=1000)
            for _ in range(20):
                if any("I cannot hear" in text for text in home.texts(channel)):
                    break
                await ada.say(hum(10))
            assert f"I cannot hear <@{user.id}>" in await home.says(channel, "I cannot hear")
            ada.member.spoil(key_changes=0)
            await ada.say(hum(10))
            assert f"I can hear <@{user.id}>" in await home.says(channel, "I can hear <@")
            assert sum("I cannot hear" in text for text in home.texts(channel)) == 0
