"""Slash commands about whom people talk with, used on the loopback Discord; the engine hears whom they chose."""

import asyncio
import json
from typing import Any

import discord
import pytest

from discordplex.bot import texts
from discordplex.bot.chat import poster
from discordplex.bot.commands.personas import APPLY_ID
from discordplex.bot.settings.personas import library
from discordplex.config import PersonaConfig
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.discord.world.files import Upload
from discordplex.loopback.personaplex.log import Connected
from discordplex.personaplex.endpoint import VOICES
from discordplex.store import personafile
from tests.bot.street import REAL_WRITE_INTERVAL_S, Street

PIRATE = "You enjoy having a good conversation. You are a pirate."


def asked_for(street: Street) -> list[tuple[str, str]]:
    """Voice and role of every conversation that was opened with the engine."""
    return [(one.query["voice_prompt"], one.query["text_prompt"]) for one in street.engine.log.of(Connected)]


async def complete(street: Street, command: str, focused: str, typed: str, **more: Any) -> list[str]:
    await street.commands_there()
    options = {**more, focused: typed}
    return [choice["value"] for choice in await street.discord.complete_slash(street.ada, street.guild, command, options, focused=focused)]


async def test_a_voice_is_shown_completed_and_set(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """The 18 voices are offered; the next call that one begins speaks with the chosen one, another person's does not."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with street.bot_running():
        assert "**NATF0.pt**" in (await street.press("voice")).content
        assert await complete(street, "voice", "voice", "") == list(VOICES)
        assert await complete(street, "voice", "voice", "varm") == [f"VARM{number}.pt" for number in range(5)]
        assert "**VARM3.pt**" in (await street.press("voice", {"voice": "VARM3.pt"})).content
        shown = (await street.press("voice")).content
        assert "**VARM3.pt**" in shown
        assert "your own choice" in shown
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        assert "**VARM3.pt**" in await street.says(street.lounge, "Go ahead")
        street.discord.leave(street.ada)
        await street.sits_in(None)
        street.discord.enter(street.ben, street.lounge)
        await street.listens(2)
    assert [voice for voice, _ in asked_for(street)] == ["VARM3.pt", "NATF0.pt"]


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
async def test_what_the_engine_would_refuse_is_refused(street: Street, command: str, options: dict[str, Any], reason: str) -> None:
    """With the reason, before any call; what was in force stays."""
    async with street.bot_running():
        said = await street.press(command, options, person=street.ben)
        assert reason in said.content
        assert said.ephemeral
        shown = (await street.press("persona show", person=street.ben)).content
        assert "what the bot was set up with" in shown


async def test_a_persona_of_the_library_is_set_shown_and_reset(street: Street) -> None:
    """By its name, which is completed; with another voice over it; and back to the default."""
    astronaut = next(one for one in library() if one.name == "Astronaut")
    async with street.bot_running():
        assert await complete(street, "persona set", "name", "ast") == ["Astronaut"]
        said = (await street.press("persona set", {"name": "astronaut", "voice": "VARF2.pt"})).content
        assert "**VARF2.pt**" in said
        shown = (await street.press("persona show")).content
        assert "(**Astronaut**)" in shown
        assert "cooling loop" in shown
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        assert (await street.press("persona reset")).content.startswith("Your own choice is forgotten")
        assert "what the bot was set up with" in (await street.press("persona show")).content
    assert asked_for(street) == [("VARF2.pt", astronaut.persona.text_prompt)]


async def test_saved_personas_are_listed_chosen_and_deleted(street: Street) -> None:
    """One's own, the server's (by an admin), the library's; another person sees the server's and not mine."""
    async with street.bot_running():
        assert "is saved for you" in (await street.press("persona save", {"name": "Pirate", "role": PIRATE, "voice": "NATM1.pt"})).content
        assert "is saved for this server" in (await street.press("persona save", {"name": "House", "server": True})).content
        mine = (await street.press("persona list")).content
        assert mine.index("Yours") < mine.index("Pirate") < mine.index("This server's") < mine.index("House") < mine.index("Astronaut")
        others = (await street.press("persona list", person=street.ben)).content
        assert "Pirate" not in others
        assert "House" in others
        await street.press("persona set", {"name": "Pirate"})
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        assert await complete(street, "persona delete", "name", "") == ["Pirate"]
        assert await complete(street, "persona delete", "name", "", server=True) == ["House"]
        assert (await street.press("persona delete", {"name": "PIRATE"})).content == texts.personas.deleted("PIRATE")
        assert "Pirate" not in (await street.press("persona list")).content
    assert asked_for(street) == [("NATM1.pt", PIRATE)]


async def test_personas_travel_as_a_file(street: Street) -> None:
    """One person's export is another's import; a file that is none is refused in words."""
    async with street.bot_running():
        assert (await street.press("persona export")).content == texts.personas.NONE_SAVED
        await street.press("persona save", {"name": "Pirate", "role": PIRATE, "voice": "NATM1.pt"})
        exported = await street.press("persona export")
        assert exported.reply
        (file,) = street.discord.files(exported.reply)
        assert json.loads(file.content)["personas"] == [{"name": "Pirate", "voice": "NATM1.pt", "text_prompt": PIRATE}]
        taken = await street.press("persona import", {"file": file}, person=street.ben)
        assert taken.content == "Saved: **Pirate**."
        assert "Pirate" in (await street.press("persona list", person=street.ben)).content
        refused = await street.press("persona import", {"file": Upload("x.json", b"{}")}, person=street.ben)
        assert "cannot be read" in refused.content
        spoilt = file.content.replace(b"NATM1.pt", b"NATM9.pt")
        refused = await street.press("persona import", {"file": Upload("x.json", spoilt)}, person=street.ben)
        assert "The persona “Pirate” would be refused" in refused.content


async def apply_now(street: Street, chosen: Interaction) -> str:
    assert chosen.reply
    return (await street.discord.press_button(chosen.reply, APPLY_ID, street.ada)).content


async def test_a_change_holds_now_where_the_button_is_pressed(street: Street) -> None:
    """The running call keeps its persona until then; the engine is opened anew on the same server, and the channel is told."""
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        chosen = await street.press("persona set", {"role": PIRATE})
        assert "unless you change it now" in chosen.content
        assert len(asked_for(street)) == 1
        assert await apply_now(street, chosen) == texts.personas.APPLIED
        await street.listens(2)
        assert "You are a pirate" in await street.says(street.lounge, "From now on you talk with")
        await street.discord.wait_for(lambda: any("Go ahead" in text and "pirate" in text for text in street.texts(street.lounge)))
        assert "I keep trying" not in " ".join(street.texts(street.lounge))
        street.discord.leave(street.ada)
        await street.sits_in(None)
        assert await apply_now(street, chosen) == texts.personas.NO_CALL_HERE
    assert asked_for(street) == [("NATF0.pt", PersonaConfig().text_prompt), ("NATF0.pt", PIRATE)]


async def test_who_is_not_in_the_call_gets_no_button(street: Street) -> None:
    """Only who sits in it may change it."""
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        chosen = await street.press("voice", {"voice": "VARM0.pt"}, person=street.ben)
        assert chosen.reply
        assert not chosen.reply.body.get("components")
        assert "unless" not in chosen.content


async def test_one_import_at_a_time(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second file of the same person is refused while the first is on its way, and one that is too large is not even fetched."""
    asked, handed_over = [], asyncio.Event()

    async def read(file: discord.Attachment) -> bytes:
        asked.append(file.filename)
        await handed_over.wait()
        return b"{}"

    monkeypatch.setattr(discord.Attachment, "read", read)
    async with street.bot_running():
        await street.commands_there()
        large = await street.press("persona import", {"file": Upload("large.json", b"x" * (personafile.FILE_BYTES + 1))})
        assert "too large" in large.content
        first = asyncio.create_task(street.press("persona import", {"file": Upload("first.json", b"{}")}))
        await street.discord.wait_for(lambda: asked)
        assert (await street.press("persona import", {"file": Upload("second.json", b"{}")})).content == texts.personas.ONE_IMPORT
        other = asyncio.create_task(street.press("persona import", {"file": Upload("other.json", b"{}")}, person=street.ben))
        await street.discord.wait_for(lambda: len(asked) > 1)
        handed_over.set()
        assert "cannot be read" in (await first).content
        assert "cannot be read" in (await other).content
        assert "cannot be read" in (await street.press("persona import", {"file": Upload("second.json", b"{}")})).content
    assert asked == ["first.json", "other.json", "second.json"]
