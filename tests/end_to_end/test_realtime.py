"""Calls with a Realtime server: turns, an interruption, two guilds at once, and PersonaPlex for several callers on one server."""

from contextlib import AbstractAsyncContextManager
from typing import Any, cast

import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect

from discordplex.audio.converter import Upsampler
from discordplex.audio.opus import SILENCE_PACKET
from discordplex.config import BotConfig, RealtimeConfig
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.openai.realtime.log import AudioAppended, SessionClosed
from discordplex.loopback.openai.realtime.replies import SpokenReply
from discordplex.loopback.openai.realtime.server import RealtimeServer
from discordplex.loopback.openai.voice import hum
from discordplex.realtime import provider
from tests.end_to_end.sound import SECOND, heard_up_to_ms, level_db
from tests.end_to_end.test_call import moves_of, segments_lags, shifts_of
from tests.home import Home, home_with

KEY = "sk-proj-0123456789abcdef"
LONG_TEXT = "La " * 56
"""Ten seconds as the stand-in hums it, without a pause."""


def at(server: RealtimeServer, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> AbstractAsyncContextManager[Home]:
    """A home whose bot has this server."""
    settings = {"url": server.url, "api_key": SecretStr(KEY), **changes}
    return home_with(monkeypatch=monkeypatch, bot=BotConfig(captions_of_people=True), realtime=RealtimeConfig(**settings))


async def test_what_is_said_comes_back_and_a_reply_can_be_interrupted(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An echo at its level, captions of both, tokens in /status; a long reply is truncated where it was heard, and /leave hangs up.

    The echo's lag is the same within 10 ms, unless the bot counts that it made up for a late machine.
    """
    sentence = speech[: 2 * SECOND * 3 // 2]
    long_reply = SpokenReply(hum(LONG_TEXT), LONG_TEXT)
    async with RealtimeServer(key=KEY, hears=lambda _: "What a day it was.") as server, at(server, monkeypatch) as home:
        discord, channel, ada = home.discord, home.lounge, home.ada
        async with Person(discord, ada, channel.id) as person:
            await home.says(channel, "Go ahead")
            moves = moves_of(home.metrics.snapshot())
            await person.say(sentence)
            await home.says(channel, f"{ada.name}: What a day it was.")
            await home.says(channel, "I heard you for")
            await person.wait_for_audio(home.bot.id, 0.8)
            await person.wait_until(lambda: person.heard.packets(home.bot.id)[-1].opus == SILENCE_PACKET)
            said, heard = person.said.pcm(ada.id), person.heard.pcm(home.bot.id)
            lags = segments_lags(heard, said)
            assert len(lags) >= 3
            assert shifts_of(lags, SECOND // 100) <= moves_of(home.metrics.snapshot()) - moves, "the timeline moved, and nobody counted it"
            assert level_db(heard) == pytest.approx(level_db(said), abs=1)
            usage = cast("Any", server.sent("response.done")[0]).event["response"]["usage"]
            status = (await home.press("status", place=channel)).content
            assert f"Tokens: {usage['input_tokens']:,} in, {usage['output_tokens']:,} out." in status
            server.options.replies = lambda _: long_reply
            await person.say(sentence)
            await discord.wait_for(lambda: len(server.sent("response.done")) == 2)
            await person.wait_for_audio(home.bot.id, person.heard.audible_s(home.bot.id) + 3.0)
            await person.say(sentence)
            heard = person.heard.pcm(home.bot.id)
            truncate = await discord.wait_for(lambda: server.received("conversation.item.truncate"))
            reply = Upsampler(channels=1).convert(long_reply.pcm)
            assert truncate[0].event["audio_end_ms"] == pytest.approx(heard_up_to_ms(heard, reply), abs=100)
            await discord.wait_for(lambda: len(server.sent("response.done")) == 3)
            assert not server.violations
            assert "left" in (await home.press("leave", place=channel)).content.lower()
            await home.sits_in(None)
        assert [record.code for record in server.log.of(SessionClosed)] == [1000]


async def test_two_guilds_hold_two_sessions_and_the_third_is_served_when_one_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM-Omni with two places: full duplex for two guilds; the third waits in the queue, and gets the place that becomes free."""
    async with RealtimeServer("vllm-omni", max_sessions=1) as server, at(server, monkeypatch, model="nvidia/personaplex-7b-v1") as home:
        first, second = home.discord.guilds[0].voice_channels[0], home.discord.guilds[1].voice_channels[0]
        async with Person(home.discord, home.ada, first.id):
            await home.says(first, "Go ahead")
            async with Person(home.discord, home.ben, second.id):
                await home.says(second, "You are number 1")
                assert server.open_sessions == 1
                await home.press("leave", place=first)
                await home.says(second, "Go ahead")
                await home.discord.wait_for(lambda: server.log.of(AudioAppended, 3))


async def test_who_finds_the_server_full_waits_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else has its only place: the caller is told that it is busy, nobody overtakes, and the place is theirs when it is free."""
    monkeypatch.setattr(provider, "FULL_S", 1.0)
    async with RealtimeServer("vllm-omni", max_sessions=1) as server, at(server, monkeypatch, model="nvidia/personaplex-7b-v1") as home:
        first, second = home.discord.guilds[0].voice_channels[0], home.discord.guilds[1].voice_channels[0]
        async with connect(f"{server.url}/realtime?duplex=1") as stranger:
            await stranger.send('{"type":"session.update","session":{}}')
            await stranger.recv()
            async with Person(home.discord, home.ada, first.id):
                await home.says(first, "You are number 1")
                async with Person(home.discord, home.ben, second.id):
                    await home.says(second, "You are number 2")
                    await stranger.close()
                    await home.says(first, "Go ahead")
                    assert server.open_sessions == 1
