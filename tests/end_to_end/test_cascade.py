"""A call with the cascade: a person says a sentence, pauses, hears the answer and says the next one, on a real Discord wire."""

from contextlib import AbstractAsyncContextManager

import pytest
from pydantic import SecretStr

from discordplex.audio.converter import Upsampler
from discordplex.cascade.reply import BROKEN_OFF
from discordplex.config import BotConfig, CascadeConfig
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.openai.log import RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from discordplex.loopback.openai.voice import SYLLABLE_MS, hum
from tests.end_to_end.sound import SECOND, heard_up_to_ms
from tests.home import Home, home_with

FIRST, SECOND_ONE = "What a day it was.", "Tell me more of it."
ANSWER = "Oh yes, indeed."


def at(openai: StandInOpenAI, monkeypatch: pytest.MonkeyPatch, *, captions_of_people: bool = True) -> AbstractAsyncContextManager[Home]:
    """A home whose bot has the cascade at this server."""
    return home_with(
        monkeypatch=monkeypatch,
        bot=BotConfig(prefix="!", captions_of_people=captions_of_people),
        cascade=CascadeConfig(base_url=openai.base_url, api_key=SecretStr(openai.api_key)),
    )


def thoughts(openai: StandInOpenAI) -> list[list[str]]:
    """What the chat model was shown each time, without the persona."""
    asked = [record for record in openai.log.of(RequestReceived) if record.service == "think"]
    return [[message["content"] for message in record.body["messages"][1:]] for record in asked]


async def test_sentence_after_sentence(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered aloud and written down with its speaker's name; the commands stop it, let it go on, reset it and send it away."""
    sentence = speech[: 2 * SECOND * 3 // 2]
    async with StandInOpenAI(hears=in_turn([FIRST, SECOND_ONE]), replies=in_turn([ANSWER])) as openai, at(openai, monkeypatch) as home:
        discord, channel, ada = home.discord, home.lounge, home.discord.people[0]
        async with Person(discord, ada, channel.id) as person:
            await home.says(channel, "Go ahead")
            await person.say(sentence)
            await home.says(channel, f"{ada.name}: {FIRST}")
            await home.says(channel, ANSWER)
            await person.wait_for_audio(home.bot.id, 0.3)
            await person.say(sentence)
            await home.says(channel, f"{ada.name}: {SECOND_ONE}")
            await discord.wait_for(lambda: sum(ANSWER in text for text in home.texts(channel)) == 2)
            assert thoughts(openai) == [[f"{ada.name}: {FIRST}"], [f"{ada.name}: {FIRST}", ANSWER, f"{ada.name}: {SECOND_ONE}"]]

            assert "forgotten" in (await discord.press_slash(ada, channel, "reset")).content
            assert "stopped" in (await discord.press_slash(ada, channel, "stop")).content
            await person.say(sentence)
            assert "hear you" in (await discord.press_slash(ada, channel, "listen")).content
            assert len(thoughts(openai)) == 2
            await person.say(sentence)
            await discord.wait_for(lambda: sum(ANSWER in text for text in home.texts(channel)) == 3)
            assert thoughts(openai)[2:] == [[f"{ada.name}: {SECOND_ONE}"]]

            discord.write(ada, channel, "!leave")
            await home.sits_in(None)


async def test_a_reply_that_is_cut_is_remembered_as_far_as_it_was_heard(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chat model is told the words that people heard of it: what was cut lies within 100 ms of the last sound."""
    sentence = speech[: 2 * SECOND * 3 // 2]
    syllable = "La m m m "  # in four short words, since text is cut between two of them
    answer = (syllable * 56).strip()
    async with StandInOpenAI(hears=in_turn([FIRST, SECOND_ONE]), replies=in_turn([answer])) as openai, at(openai, monkeypatch) as home:
        async with Person(home.discord, home.ada, home.lounge.id) as person:
            await home.says(home.lounge, "Go ahead")
            await person.say(sentence)
            await person.wait_for_audio(home.bot.id, 3.0)
            spoken = [record.body["input"] for record in openai.log.of(RequestReceived) if record.service == "speak"]
            await person.say(sentence)
            heard = person.heard.pcm(home.bot.id)
            await home.discord.wait_for(lambda: len(thoughts(openai)) == 2)
        reply = b"".join(Upsampler(channels=1).convert(hum(text)) for text in spoken)
        kept = thoughts(openai)[1][1].rstrip(BROKEN_OFF)
        word_ms = SYLLABLE_MS * 3 / len(syllable)
        assert heard_up_to_ms(heard, reply) == pytest.approx(SYLLABLE_MS * len(kept) / len(syllable) + word_ms / 2, abs=100 + word_ms / 2)


async def test_words_are_written_down_only_after_people_were_told(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's words are posted or kept by default; switched on in the call, a new message with the buttons says so before it is done."""
    sentence = speech[: 2 * SECOND * 3 // 2]
    hears = ["First.", "Second.", "Third.", "Fourth."]
    async with (
        StandInOpenAI(hears=in_turn(hears), replies=in_turn([ANSWER])) as openai,
        at(openai, monkeypatch, captions_of_people=False) as home,
    ):
        discord, channel, ada = home.discord, home.lounge, home.discord.people[0]

        async def speak(person: Person, answers: int) -> None:
            await person.say(sentence)
            await discord.wait_for(lambda: sum(ANSWER in text for text in home.texts(channel)) == answers)
            await person.wait_for_audio(home.bot.id, 0.3)

        async with Person(discord, ada, channel.id) as person:
            greeting = await home.says(channel, "Go ahead")
            assert "nothing of it is kept" in greeting
            assert "goes to the cascade" in greeting
            await speak(person, 1)
            assert "transcripts: on" in (await discord.press_slash(ada, channel, "settings transcripts", {"state": "on"})).content
            told = next(message for message in home.messages(channel) if "a transcript is kept" in message.content)
            assert told.body["components"]
            assert not any("nothing of it is kept" in text for text in home.texts(channel))
            await speak(person, 2)
            assert not any("Second" in text for text in home.texts(channel))
            await discord.press_slash(ada, channel, "settings captions-of-people", {"state": "on"})
            await home.says(channel, "your words are written into this channel")
            await speak(person, 3)  # begun as the notice comes, it may count as begun before it
            await speak(person, 4)
            await home.says(channel, f"{ada.name}: Fourth.")
            assert home.store
            kept = home.store.transcripts
            calls = await kept.calls(int(channel.guild_id))
            lines = [line.text for one in calls for line in await kept.read(int(channel.guild_id), one.call) if line.user_id]
            assert {"Fourth."} <= set(lines) <= {"Second.", "Third.", "Fourth."}
        await home.sits_in(None)
        await home.says(channel, "The call has ended after")
        assert not any("I am listening" in text for text in home.texts(channel))


async def test_two_servers_have_two_memories(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two guilds hold calls at once, and neither's words are in the other's history."""
    sentence = speech[: 2 * SECOND * 3 // 2]
    async with StandInOpenAI(hears=in_turn([FIRST, SECOND_ONE]), replies=in_turn([ANSWER])) as openai, at(openai, monkeypatch) as home:
        here, there = home.lounge, home.discord.guilds[1].voice_channels[0]
        ada, ben = home.discord.people[:2]
        async with Person(home.discord, ada, here.id) as first, Person(home.discord, ben, there.id) as second:
            await home.says(here, "Go ahead")
            await home.says(there, "Go ahead")
            await first.say(sentence)
            await home.says(here, f"{ada.name}: {FIRST}")
            await second.say(sentence)
            await home.says(there, f"{ben.name}: {SECOND_ONE}")
            await first.wait_for_audio(home.bot.id, 0.3)
            await second.wait_for_audio(home.bot.id, 0.3)
    assert thoughts(openai) == [[f"{ada.name}: {FIRST}"], [f"{ben.name}: {SECOND_ONE}"]]
