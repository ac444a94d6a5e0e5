"""Slash commands about whom people talk with, used on the loopback Discord; the engine hears whom they chose."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from discordplex.bot import texts
from discordplex.bot.chat import poster
from discordplex.bot.commands.personas import APPLY_ID, CHUNK_BYTES
from discordplex.bot.settings.personas import library
from discordplex.config import PersonaConfig
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.discord.world.files import Upload
from discordplex.loopback.personaplex.log import Connected
from discordplex.personaplex.endpoint import VOICES
from discordplex.store import personafile
from tests.home import REAL_WRITE_INTERVAL_S, Home

PIRATE = "You enjoy having a good conversation. You are a pirate."


def asked_for(home: Home) -> list[tuple[str, str]]:
    """Voice and role of every conversation that was opened with the engine."""
    return [(one.query["voice_prompt"], one.query["text_prompt"]) for one in home.engine.log.of(Connected)]


async def complete(home: Home, command: str, focused: str, typed: str, **more: Any) -> list[str]:
    await home.commands_there()
    options = {**more, focused: typed}
    return [choice["value"] for choice in await home.discord.complete_slash(home.ada, home.guild, command, options, focused=focused)]


async def test_a_voice_is_shown_completed_and_set(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 18 voices are offered; the next call that one begins speaks with the chosen one, another person's does not."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with home.bot_running():
        assert "**NATF0.pt**" in (await home.press("voice")).content
        assert await complete(home, "voice", "voice", "") == list(VOICES)
        assert await complete(home, "voice", "voice", "varm") == [f"VARM{number}.pt" for number in range(5)]
        assert "**VARM3.pt**" in (await home.press("voice", {"voice": "VARM3.pt"})).content
        shown = (await home.press("voice")).content
        assert "**VARM3.pt**" in shown
        assert "your own choice" in shown
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        assert "**VARM3.pt**" in await home.says(home.lounge, "Go ahead")
        home.discord.leave(home.ada)
        await home.sits_in(None)
        home.discord.enter(home.ben, home.lounge)
        await home.listens(2)
    assert [voice for voice, _ in asked_for(home)] == ["VARM3.pt", "NATF0.pt"]


@pytest.mark.parametrize(
    ("command", "options", "reason"),
    [
        ("voice", {"voice": "NATF9.pt"}, "has no voice 'NATF9.pt': did you mean NATF"),
        ("persona set", {"role": "🏴" * 2000}, "The text prompt is too long"),
        ("persona set", {"role": "   "}, "The text prompt is empty"),
        ("persona set", {"name": "Nobody"}, "There is no persona named “Nobody” here"),
        ("persona set", {}, texts.personas.NOTHING_GIVEN),
        ("persona save", {"name": "Mine", "voice": "X"}, "has no voice 'X'"),
        ("persona delete", {"name": "Nobody"}, "There is no persona named"),
        ("persona save", {"name": "Ours", "server": True}, texts.waiting.ADMINS_ONLY),
    ],
)
async def test_what_the_engine_would_refuse_is_refused(home: Home, command: str, options: dict[str, Any], reason: str) -> None:
    """With the reason, before any call; what was in force stays."""
    async with home.bot_running():
        said = await home.press(command, options, person=home.ben)
        assert reason in said.content
        assert said.ephemeral
        shown = (await home.press("persona show", person=home.ben)).content
        assert "the bot's default" in shown


async def test_a_persona_of_the_library_is_set_shown_and_reset(home: Home) -> None:
    """By its name, which is completed; with another voice over it; and back to the default."""
    astronaut = next(one for one in library() if one.name == "Astronaut")
    async with home.bot_running():
        assert await complete(home, "persona set", "name", "ast") == ["Astronaut"]
        said = (await home.press("persona set", {"name": "astronaut", "voice": "VARF2.pt"})).content
        assert "**VARF2.pt**" in said
        shown = (await home.press("persona show")).content
        assert "(**Astronaut**)" in shown
        assert "cooling loop" in shown
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        assert (await home.press("persona reset")).content.startswith("Your own choice is deleted")
        assert "the bot's default" in (await home.press("persona show")).content
    assert asked_for(home) == [("VARF2.pt", astronaut.persona.text_prompt)]


async def test_saved_personas_are_listed_chosen_and_deleted(home: Home) -> None:
    """One's own, the server's (by an admin), the library's; another person sees the server's and not mine."""
    async with home.bot_running():
        assert "is saved for you" in (await home.press("persona save", {"name": "Pirate", "role": PIRATE, "voice": "NATM1.pt"})).content
        assert "is saved for this server" in (await home.press("persona save", {"name": "Home", "server": True})).content
        mine = (await home.press("persona list")).content
        assert mine.index("Yours") < mine.index("Pirate") < mine.index("This server's") < mine.index("Home") < mine.index("Astronaut")
        others = (await home.press("persona list", person=home.ben)).content
        assert "Pirate" not in others
        assert "Home" in others
        await home.press("persona set", {"name": "Pirate"})
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        assert await complete(home, "persona delete", "name", "") == ["Pirate"]
        assert await complete(home, "persona delete", "name", "", server=True) == ["Home"]
        assert (await home.press("persona delete", {"name": "PIRATE"})).content == texts.personas.deleted("PIRATE")
        assert "Pirate" not in (await home.press("persona list")).content
    assert asked_for(home) == [("NATM1.pt", PIRATE)]


async def test_personas_travel_as_a_file(home: Home) -> None:
    """One person's export is another's import; a file that is none is refused in words."""
    async with home.bot_running():
        assert (await home.press("persona export")).content == texts.personas.NONE_SAVED
        await home.press("persona save", {"name": "Pirate", "role": PIRATE, "voice": "NATM1.pt"})
        exported = await home.press("persona export")
        assert exported.reply
        (file,) = home.discord.files(exported.reply)
        assert json.loads(file.content)["personas"] == [{"name": "Pirate", "voice": "NATM1.pt", "text_prompt": PIRATE}]
        taken = await home.press("persona import", {"file": file}, person=home.ben)
        assert taken.content == "Saved: **Pirate**."
        assert "Pirate" in (await home.press("persona list", person=home.ben)).content
        refused = await home.press("persona import", {"file": Upload("x.json", b"{}")}, person=home.ben)
        assert "cannot be read" in refused.content
        spoilt = file.content.replace(b"NATM1.pt", b"NATM9.pt")
        refused = await home.press("persona import", {"file": Upload("x.json", spoilt)}, person=home.ben)
        assert "The persona “Pirate” would be refused" in refused.content


async def apply_now(home: Home, chosen: Interaction) -> str:
    assert chosen.reply
    return (await home.discord.press_button(chosen.reply, APPLY_ID, home.ada)).content


async def test_a_change_holds_now_where_the_button_is_pressed(home: Home) -> None:
    """The running call keeps its persona until then; the engine is opened anew on the same server, and the channel is told."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        chosen = await home.press("persona set", {"role": PIRATE})
        assert "unless you press *Change now*" in chosen.content
        assert len(asked_for(home)) == 1
        assert await apply_now(home, chosen) == texts.personas.APPLIED
        await home.listens(2)
        assert "You are a pirate" in await home.says(home.lounge, "From now on you talk with")
        await home.discord.wait_for(lambda: any("Go ahead" in text and "pirate" in text for text in home.texts(home.lounge)))
        assert "I keep trying" not in " ".join(home.texts(home.lounge))
        home.discord.leave(home.ada)
        await home.sits_in(None)
        assert await apply_now(home, chosen) == texts.personas.NO_CALL_HERE
    assert asked_for(home) == [("NATF0.pt", PersonaConfig().text_prompt), ("NATF0.pt", PIRATE)]


async def test_who_is_not_in_the_call_gets_no_button(home: Home) -> None:
    """Only who sits in it may change it."""
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        chosen = await home.press("voice", {"voice": "VARM0.pt"}, person=home.ben)
        assert chosen.reply
        assert not chosen.reply.body.get("components")
        assert "unless" not in chosen.content


async def test_a_file_that_is_larger_than_discord_says_is_not_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives is counted, and the rest is left where it is."""
    arrived: list[int] = []
    stream = discord.http.HTTPClient.stream_from_cdn

    async def counted(http: discord.http.HTTPClient, url: str, chunk_bytes: int) -> AsyncIterator[bytes]:
        async with contextlib.aclosing(stream(http, url, chunk_bytes)) as chunks:
            async for chunk in chunks:
                arrived.append(len(chunk))
                yield chunk

    monkeypatch.setattr(discord.http.HTTPClient, "stream_from_cdn", counted)
    async with home.bot_running():
        sent = await home.press("persona import", {"file": Upload("x.json", b" " * 20_000_000, told_bytes=10)})
        assert sent.content == texts.personas.file_too_large(personafile.FILE_BYTES // 1000)
    assert personafile.FILE_BYTES < sum(arrived) <= personafile.FILE_BYTES + CHUNK_BYTES


async def test_one_import_at_a_time(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second file of the same person is refused while the first is on its way, and one that is too large is not even fetched."""
    asked, handed_over = [], asyncio.Event()

    async def stream(_http: Any, url: str, _bytes: int) -> AsyncIterator[bytes]:
        asked.append(url.rpartition("/")[2])
        await handed_over.wait()
        yield b"{}"

    monkeypatch.setattr(discord.http.HTTPClient, "stream_from_cdn", stream)
    async with home.bot_running():
        await home.commands_there()
        large = await home.press("persona import", {"file": Upload("large.json", b"x" * (personafile.FILE_BYTES + 1))})
        assert "too large" in large.content
        first = asyncio.create_task(home.press("persona import", {"file": Upload("first.json", b"{}")}))
        await home.discord.wait_for(lambda: asked)
        assert (await home.press("persona import", {"file": Upload("second.json", b"{}")})).content == texts.personas.ONE_IMPORT
        other = asyncio.create_task(home.press("persona import", {"file": Upload("other.json", b"{}")}, person=home.ben))
        await home.discord.wait_for(lambda: len(asked) > 1)
        handed_over.set()
        assert "cannot be read" in (await first).content
        assert "cannot be read" in (await other).content
        assert "cannot be read" in (await home.press("persona import", {"file": Upload("second.json", b"{}")})).content
    assert asked == ["first.json", "other.json", "second.json"]
