"""PersonaPlex and the cascade in one list: whoever finds no free card talks with the cascade, and so does whoever loses theirs."""

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from discordplex.config import BotConfig, CascadeConfig, EngineConfig
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.world.model import Channel
from discordplex.loopback.openai.log import RequestReceived
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from discordplex.loopback.personaplex.log import AudioReceived, Connected, HandshakeSent
from discordplex.loopback.personaplex.server import StandInServer
from tests.end_to_end.sound import SECOND
from tests.home import Home, home_with

WORDS, ANSWER = "Where were we?", "Right here."
BOTH = EngineConfig(kind=("personaplex", "cascade"), voices={"NATF0.pt": {"cascade": "nova"}})


def new_guild(home: Home, name: str) -> Channel:
    """The voice channel of one more guild."""
    world = home.discord.world
    guild = world.add_guild(name, owner_id=home.ada.id)
    for user in (home.bot, *home.discord.people):
        world.add_member(guild.id, user.id)
    return world.add_channel(guild.id, "Attic", home.lounge.kind)


@asynccontextmanager
async def home_of(
    *cards: StandInServer,
    openai: StandInOpenAI,
    monkeypatch: pytest.MonkeyPatch,
    max_calls: int = 4,
    engine: EngineConfig = BOTH,
    **settings: Any,
) -> AsyncIterator[Home]:
    """A home whose bot prefers these cards, and has the cascade at this server."""
    cascade = CascadeConfig(base_url=openai.base_url, api_key=SecretStr(openai.api_key), max_calls=max_calls)
    async with home_with(*cards, monkeypatch=monkeypatch, cascade=cascade, engine=engine, **settings) as home:
        yield home


def stand_in() -> StandInOpenAI:
    return StandInOpenAI(hears=in_turn([WORDS]), replies=in_turn([ANSWER]))


def requests(openai: StandInOpenAI, service: str) -> list[RequestReceived]:
    return [record for record in openai.log.of(RequestReceived) if record.service == service]


async def hears(card: StandInServer, conversation: int) -> None:
    """Wait until a card hears sound in this conversation."""
    await card.log.wait_for(lambda log: any(record.client == conversation for record in log.of(AudioReceived)))


async def die(*cards: StandInServer) -> None:
    """As when the process is killed."""
    for card in cards:
        await card.stop_listening()
        card.reset()


async def test_the_third_caller_talks_with_the_cascade(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is told which and why; who comes when nothing at all is free waits in the queue, and is served by what becomes free first."""
    async with (
        StandInServer() as card,
        StandInServer() as other,
        stand_in() as openai,
        home_of(card, other, openai=openai, monkeypatch=monkeypatch, max_calls=1, bot=BotConfig(captions_of_people=True)) as home,
    ):
        hall, attic, shed = home.discord.guilds[1].voice_channels[0], new_guild(home, "Annex"), new_guild(home, "Shed")
        ada, ben, cleo, dev = home.discord.people
        for user, channel in ((ada, home.lounge), (ben, hall)):
            home.discord.enter(user, channel)
            await home.says(channel, "goes to PersonaPlex")
            await home.says(channel, "Go ahead")
        async with Person(home.discord, cleo, attic.id) as person:
            greeting = await home.says(attic, "Go ahead")
            assert "goes to the cascade" in greeting
            assert "**nova**" in greeting
            await home.says(attic, "PersonaPlex is busy with other conversations, so this call has the cascade (")
            await person.say(speech[: 3 * SECOND])
            await person.wait_for_audio(home.bot.id, 0.3)
            await home.says(attic, f"{cleo.name}: {WORDS}")
            await home.says(attic, ANSWER)
            (spoken,) = {record.body["voice"] for record in requests(openai, "speak")}
            assert spoken == "nova"
            assert "wise and friendly teacher" in requests(openai, "think")[0].body["messages"][0]["content"]
            home.discord.enter(dev, shed)
            await home.says(shed, "number 1 in the queue")
            home.discord.leave(ada)
            await home.says(shed, "goes to PersonaPlex")
            await home.says(shed, "Go ahead")
        assert home.texts(hall) == home.texts(hall)[:1]


async def test_both_cards_die_and_their_calls_go_on(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the cascade, which knows what was said. People are told before it hears a word, and nobody's call has ended."""
    async with (
        StandInServer(mode="talker") as card,
        StandInServer(mode="talker") as other,
        stand_in() as openai,
        home_of(card, other, openai=openai, monkeypatch=monkeypatch) as home,
    ):
        hall = home.discord.guilds[1].voice_channels[0]
        ada, ben = home.discord.people[:2]
        async with Person(home.discord, ada, home.lounge.id) as first, Person(home.discord, ben, hall.id) as second:
            said = {}
            for channel in (home.lounge, hall):
                await home.says(channel, "Go ahead")
                said[channel.id] = await home.discord.wait_for(functools.partial(caption, home, channel))
            await die(card, other)
            for channel, person in ((home.lounge, first), (hall, second)):
                sentence = await home.says(channel, "PersonaPlex is not available any more. From now on you talk with the cascade (")
                assert "127.0.0.1" not in sentence
                await home.says(channel, "goes to the cascade")
                before = len(requests(openai, "think"))
                await person.say(speech[: 3 * SECOND])
                await home.says(channel, ANSWER)
                await person.wait_for_audio(home.bot.id, 0.3)
                messages = requests(openai, "think")[before].body["messages"]
                remembered = " ".join(one["content"] for one in messages if one["role"] == "assistant")
                assert said[channel.id][:20] in remembered
                assert messages[-1]["content"].endswith(WORDS)
                assert sum("not available any more" in text for text in home.texts(channel)) == 1
                assert not any("has ended" in text for text in home.texts(channel))
                assert not any("keep trying" in text for text in home.texts(channel))


def caption(home: Home, channel: Channel) -> str:
    """The first thing that the engine has said there."""
    texts = (text for text in home.texts(channel) if "I am listening" not in text and "not available" not in text)
    return next((text for text in texts if len(text) > 20), "")


async def test_a_card_that_hangs_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when its machine is switched off: nothing comes any more, and nothing answers."""
    async with StandInServer() as card, stand_in() as openai, home_of(card, openai=openai, monkeypatch=monkeypatch) as home:
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        await card.go_silent()
        await home.says(home.lounge, "is not available any more")
        await home.says(home.lounge, "goes to the cascade")
        assert not requests(openai, "transcribe")
        home.discord.leave(home.ada)
        await home.sits_in(None)
        await home.says(home.lounge, "The call has ended after")


async def test_a_card_that_flaps_makes_no_storm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every connection and dies in a moment: the call moves to the cascade once, and stays there."""
    async with StandInServer() as card, stand_in() as openai, home_of(card, openai=openai, monkeypatch=monkeypatch) as home:
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        for conversation in (1, 2):
            await hears(card, conversation)
            card.reset()
        await home.says(home.lounge, "is not available any more")
        await home.says(home.lounge, "goes to the cascade")
        home.discord.enter(home.ben, home.lounge)
        await asyncio.sleep(3)
        assert len(card.log.of(Connected)) <= 2
        assert sum("not available any more" in text for text in home.texts(home.lounge)) == 1
        assert len(home.texts(home.lounge)) <= 3


async def test_who_asks_for_something_in_the_middle(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another persona, /stop and an opt-out while the card is gone: the cascade has the persona, hears nobody, and not who opted out."""
    async with StandInServer() as card, stand_in() as openai, home_of(card, openai=openai, monkeypatch=monkeypatch) as home:
        ada, ben = home.discord.people[:2]
        async with Person(home.discord, ada, home.lounge.id) as first, Person(home.discord, ben, home.lounge.id) as second:
            await home.says(home.lounge, "Go ahead")
            await die(card)
            await home.press("persona set", {"role": "You are a pirate."}, place=home.lounge)
            await home.press("stop", place=home.lounge)
            await home.says(home.lounge, "is not available any more")
            await first.say(speech[: 2 * SECOND])
            assert not requests(openai, "transcribe")
            await home.press("listen", place=home.lounge)
            await first.say(speech[: 3 * SECOND])
            await home.says(home.lounge, ANSWER)
            assert len(requests(openai, "transcribe")) == 1
            await second.wait_for_audio(home.bot.id, 0.3)


async def test_a_call_returns_when_a_card_is_free(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pause, after people were told; the card is told what was said, and the cascade hears nobody any more."""
    returning = BOTH.model_copy(update={"return_to_preferred": True})
    async with (
        StandInServer() as card,
        stand_in() as openai,
        home_of(card, openai=openai, monkeypatch=monkeypatch, engine=returning) as home,
    ):
        hall = home.discord.guilds[1].voice_channels[0]
        ada, ben = home.discord.people[:2]
        home.discord.enter(ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        async with Person(home.discord, ben, hall.id) as person:
            await home.says(hall, "so this call has the cascade")
            await home.says(hall, "Go ahead")
            await person.say(speech[: 3 * SECOND])
            await home.says(hall, ANSWER)
            await person.wait_for_audio(home.bot.id, 0.3)
            home.discord.leave(ada)
            await home.says(hall, "PersonaPlex is available again")
            await home.says(hall, "goes to PersonaPlex", timeout_s=20)
            asked = len(requests(openai, "transcribe"))
            role = card.log.of(HandshakeSent)[-1].text_prompt
            assert "wise and friendly teacher" in role
            assert ANSWER in role
            await person.say(speech[: 3 * SECOND])
            await person.wait_for_audio(home.bot.id, 1.0)
            assert len(requests(openai, "transcribe")) == asked
