"""Ears beside PersonaPlex, on a real Discord wire: who said what is written down, and the call does not depend on it."""

import asyncio
import re
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest
from pydantic import SecretStr

from discordplex.bot import guild_rules
from discordplex.bot.commands.privacy import DONT_LISTEN_ID
from discordplex.config import BotConfig, CascadeConfig
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.openai.faults import RequestFault
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from discordplex.loopback.personaplex.server import StandInServer
from tests.end_to_end.sound import SECOND
from tests.home import Home, home_with

WORDS = ["one speaks", "two speaks", "three speaks"]


def sentence(speech: bytes) -> bytes:
    """The clip's first sentence."""
    return speech[: 2 * SECOND * 3 // 2]


def at(openai: StandInOpenAI, engine: StandInServer, monkeypatch: pytest.MonkeyPatch) -> AbstractAsyncContextManager[Home]:
    """A home with a PersonaPlex, and ears that use this server."""
    return home_with(
        engine,
        monkeypatch=monkeypatch,
        bot=BotConfig(captions_of_people=True),
        transcribed_at=CascadeConfig(base_url=openai.base_url, api_key=SecretStr(openai.api_key)),
    )


async def test_three_people_at_once_are_written_down_under_their_names(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notice names the service first; then all say a sentence at the same time, and each has a caption of their own."""
    async with StandInServer() as engine, StandInOpenAI(hears=in_turn(WORDS)) as openai, at(openai, engine, monkeypatch) as home:
        people, lounge = home.discord.people[:3], home.lounge
        async with AsyncExitStack() as stack:
            mouths = [await stack.enter_async_context(Person(home.discord, user, lounge.id)) for user in people]
            notice = await home.says(lounge, "Go ahead")
            assert "is transcribed by a transcription service (whisper-1), and your words are written into this channel" in notice
            assert not openai.log.of(RequestReceived)
            await asyncio.gather(*(mouth.say(sentence(speech)) for mouth in mouths))
            said = [(await home.says(lounge, f"{user.name}: ")).removeprefix(f"{user.name}: ") for user in people]
            assert sorted(said) == sorted(WORDS)


@pytest.mark.parametrize("fault", ["dead", "slow"])
async def test_a_transcription_that_fails_is_one_sentence_and_the_call_goes_on(
    speech: bytes, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The engine hears and answers as before; who opts out in the middle of a request has no caption."""
    async with StandInServer() as engine, StandInOpenAI() as openai, at(openai, engine, monkeypatch) as home:
        openai.fail("transcribe", RequestFault(status=500) if fault == "dead" else RequestFault(body=b"{", endless=b" ", drip_ms=200))
        at_lounge = (Person(home.discord, user, home.lounge.id) for user in (home.ada, home.ben))
        async with next(at_lounge) as ada, next(at_lounge) as ben:
            await home.says(home.lounge, "Go ahead")
            await ada.say(sentence(speech))
            await openai.log.wait_for(lambda log: log.of(RequestReceived))
            if fault == "dead":
                await home.says(home.lounge, "until the transcription works again, what you say is not written down")
            else:
                (notice,) = [message for message in home.messages(home.lounge) if "I am listening" in message.content]
                await home.discord.press_button(notice, DONT_LISTEN_ID, home.ada)
                await openai.log.wait_for(lambda log: log.of(ClientHungUp))
            before_s = ada.heard.audible_s(home.bot.id)
            await ben.say(sentence(speech))
            await ada.wait_for_audio(home.bot.id, before_s + 0.3)
        texts = home.texts(home.lounge)
        assert not any(text.startswith(f"{home.ada.name}: ") for text in texts)
        assert sum("is not written down" in text for text in texts) == (fault == "dead")


async def test_notes_are_made_of_what_people_said(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a person's mouth to the notes: transcribed beside PersonaPlex, kept, summed up by the chat model, with the time of the line."""
    monkeypatch.setattr(guild_rules, "MINUTE_S", 0.5)
    words = "We go to the lake on Friday, and Ben brings the boat, because Ada has none. " * 3
    answer = "SUMMARY: They go to the lake.\nDECISION 1: Ben brings the boat."
    openai = StandInOpenAI(hears=lambda _: words, replies=lambda _: answer)
    async with StandInServer("talker") as engine, openai, at(openai, engine, monkeypatch) as home:
        await home.press("settings transcripts", {"state": "on"})
        await home.press("notes", {"state": "on"})
        async with Person(home.discord, home.ada, home.lounge.id) as ada:
            notice = await home.says(home.lounge, "Go ahead")
            assert "after the call the transcript goes to a chat model (gpt-4o-mini)" in notice
            await ada.say(sentence(speech))
            await home.says(home.lounge, f"{home.ada.name}: We go to the lake")
            await home.discord.wait_for(lambda: home.lounge.status == "listening")
        notes = await home.says(home.lounge, "Notes of the call in")
        assert f"{home.ada.name} (" in notes
        assert "**Summary:** They go to the lake." in notes
        assert re.search(r"- <t:\d+:t> Ben brings the boat\.", notes)
        (asked,) = [record for record in openai.log.of(RequestReceived) if record.service == "think"]
        assert f"{home.ada.name}: We go to the lake" in asked.body["messages"][1]["content"]
