"""A wish is granted whatever becomes of its answer: every command and button that changes something, with a Discord that refuses."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import discord
import pytest

from discordplex.bot.application import BotApplication
from discordplex.bot.call.call import Call
from discordplex.bot.chat import poster
from discordplex.bot.commands import reply as reply_module
from discordplex.bot.commands.base import CommandServices
from discordplex.bot.commands.personas import APPLY_ID
from discordplex.bot.commands.privacy import DONT_LISTEN_ID, FORGET_ID, LISTEN_ID
from discordplex.bot.commands.register import add_commands
from discordplex.engine import Persona
from discordplex.loopback import timeouts
from discordplex.loopback.discord.rest.errors import ApiError, unknown
from discordplex.loopback.discord.rest.interactions import Interaction, Interactions
from discordplex.loopback.discord.world.files import Upload
from discordplex.loopback.discord.world.model import User
from discordplex.store import personafile
from discordplex.store.records import Choice, GuildSettings, Owner, SavedPersona
from tests.bot.test_docs import names_of
from tests.home import REAL_WRITE_INTERVAL_S, Home

BOT = Path(__file__).parents[3] / "discordplex" / "bot"

READ_ONLY = {"status", "latency", "privacy", "persona show", "persona list", "persona export", "settings show", "settings transcript"}
IN_A_CALL = {"join", "leave", "listen", "stop", "reset", "queue"}

TAKE = Interactions.answer


def too_late(_self: Interactions, _id: str, _token: str, _body: dict[str, Any]) -> Interaction:
    """The gateway was slow, or we were."""
    raise unknown("interaction", 10062)


def answered_already(self: Interactions, interaction_id: str, token: str, body: dict[str, Any]) -> Interaction:
    """A first try arrived and its answer was lost: Discord refuses the second."""
    TAKE(self, interaction_id, token, body)
    raise ApiError(400, 40060, "Interaction has already been acknowledged.")


async def hang(_self: Any, **_how: bool) -> None:
    """Discord takes the request and never says what became of it."""
    await asyncio.Event().wait()


@pytest.fixture(params=["10062", "40060", "hangs"])
def refusal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "hangs":
        monkeypatch.setattr(discord.InteractionResponse, "defer", hang)
        monkeypatch.setattr(reply_module, "ANSWER_WITHIN_S", 0.01)
    else:
        monkeypatch.setattr(Interactions, "answer", too_late if request.param == "10062" else answered_already)
    return str(request.param)


def use(home: Home, name: str, options: dict[str, Any] | None = None, person: User | None = None) -> Interaction:
    """Use a command without waiting for what is answered."""
    return home.discord.interactions.use_command((person or home.ada).id, home.guild.text_channel, name, options or {})


def press(home: Home, button: str) -> None:
    """Press a button below an old message."""
    row = {"type": 1, "components": [{"type": 2, "style": 2, "label": "x", "custom_id": button}]}
    old = home.discord.world.chat.post(home.guild.text_channel.id, home.bot.id, {"content": "old", "components": [row]})
    home.discord.interactions.use_component(home.ada.id, old, button)


async def until(home: Home, holds: Callable[[], Any]) -> None:
    """Wait until something holds that is read from the store or the bot."""

    async def ask() -> None:
        while not await holds():  # noqa: ASYNC110 -- a database has no event
            await asyncio.sleep(0.01)

    await timeouts.wait_for(ask(), 5)
    assert home.store


@pytest.mark.usefixtures("refusal")
async def test_what_is_set_is_saved(home: Home) -> None:
    """Settings of persons and of the server: each is in the store although Discord refused to be asked for time."""
    async with home.bot_running():
        await home.commands_there()
        assert home.store
        store, guild, ada = home.store, int(home.guild.id), int(home.ada.id)
        mine, role = Owner("person", ada), next(iter(home.discord.world.guilds[home.guild.id].roles.values()))
        persona = {"name": "Pirate", "voice": "VARM0.pt", "role": "You are a pirate."}
        exported = personafile.write([SavedPersona(mine, "Sailor", Persona("VARM0.pt", "You sail."))])

        async def settings() -> GuildSettings:
            return await store.guilds.get(guild)

        async def choice() -> Choice:
            return (await store.people.get(ada)).choice

        async def saved() -> set[str]:
            return {one.name for one in await store.personas.list(mine)}

        steps: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
            "voice": ({"voice": "VARM0.pt"}, lambda: is_so(choice, lambda it: it.voice == "VARM0.pt")),
            "persona set": ({"role": "You are a cook."}, lambda: is_so(choice, lambda it: it.text_prompt == "You are a cook.")),
            "persona reset": ({}, lambda: is_so(choice, lambda it: it == Choice())),
            "persona save": (persona, lambda: is_so(saved, lambda it: it == {"Pirate"})),
            "persona delete": ({"name": "Pirate"}, lambda: is_so(saved, lambda it: not it)),
            "persona import": ({"file": Upload("x.json", exported.encode())}, lambda: is_so(saved, lambda it: it == {"Sailor"})),
            "settings captions": ({"where": "off"}, lambda: is_so(settings, lambda it: it.captions is not None)),
            "settings captions-of-people": ({"state": "on"}, lambda: is_so(settings, lambda it: it.captions_of_people)),
            "settings transcripts": ({"state": "on"}, lambda: is_so(settings, lambda it: it.transcripts)),
            "notes": ({"state": "on"}, lambda: is_so(settings, lambda it: it.notes)),
            "settings persona": ({"voice": "VARM0.pt"}, lambda: is_so(settings, lambda it: it.choice.voice == "VARM0.pt")),
            "settings channel": ({"channel": home.study, "rule": "deny"}, lambda: is_so(settings, lambda it: it.denied_channels)),
            "settings role": ({"role": role, "rule": "deny"}, lambda: is_so(settings, lambda it: it.denied_roles)),
            "settings limits": ({"idle": 7}, lambda: is_so(settings, lambda it: it.idle_minutes == 7)),
            "settings reset": ({}, lambda: is_so(settings, lambda it: it == GuildSettings(guild))),
        }
        for name, (options, holds) in steps.items():
            use(home, name, options)
            await until(home, holds)
    unproven = all_commands() - READ_ONLY - IN_A_CALL - steps.keys() - {"settings forget-transcripts"}
    assert not unproven, f"nobody has tried what a refused answer does to: {sorted(unproven)}"


async def is_so(read: Callable[[], Any], holds: Callable[[Any], Any]) -> bool:
    """Whether what is read now fulfils something."""
    return bool(holds(await read()))


@pytest.mark.usefixtures("refusal")
async def test_buttons_do_what_they_say(home: Home) -> None:
    """Not to be heard, to be heard again, to be forgotten, to change the persona of the call."""
    async with home.bot_running() as application:
        await home.commands_there()
        assert home.store
        store, ada = home.store, int(home.ada.id)
        press(home, DONT_LISTEN_ID)
        await until(home, lambda: is_so(store.people.opted_out, lambda it: it == {ada}))
        assert ada in preferences(application).opted_out
        press(home, LISTEN_ID)
        await until(home, lambda: is_so(store.people.opted_out, lambda it: not it))
        use(home, "voice", {"voice": "VARM0.pt"})
        await until(home, lambda: is_so(lambda: store.people.get(ada), lambda it: it.choice.voice))
        press(home, FORGET_ID)
        await until(home, lambda: is_so(lambda: store.privacy.what_is_stored(ada), lambda it: it.nothing))
        home.discord.enter(home.ada, home.lounge)
        await home.listens(1)
        use(home, "voice", {"voice": "VARM0.pt"})
        await until(home, lambda: is_so(lambda: store.people.get(ada), lambda it: it.choice.voice))
        press(home, APPLY_ID)
        await home.listens(2)


@pytest.mark.usefixtures("refusal")
async def test_calls_obey(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop, go on, forget, leave, come."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    asked: list[str] = []

    def reset(_call: Call) -> bool:
        asked.append("reset")
        return False

    monkeypatch.setattr(Call, "reset", reset)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens(1)
        use(home, "stop")
        await home.says(home.lounge, "asked me to stop")
        use(home, "listen")
        await home.says(home.lounge, "asked me to continue")
        use(home, "reset")
        await home.discord.wait_for(lambda: asked)
        use(home, "leave")
        await home.sits_in(None)
        use(home, "join")
        await home.sits_in(home.lounge)


async def test_an_answer_that_was_taken_after_all_is_filled_in(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """40060 means that the person sees the bot think: the answer goes there."""
    monkeypatch.setattr(Interactions, "answer", answered_already)
    async with home.bot_running():
        await home.commands_there()
        used = use(home, "persona show")
        await home.discord.wait_for(lambda: "You talk with" in used.content)
        assert used.ephemeral


def test_no_command_asks_discord_by_itself() -> None:
    """Only `reply.py` defers: elsewhere a command would wait for Discord before its work is done."""
    found = [path.name for path in BOT.rglob("*.py") if re.search(r"\.defer\(|\.send_response\(", path.read_text(encoding="utf-8"))]
    assert found == ["reply.py"]


def all_commands() -> set[str]:
    """The names of all slash commands."""
    bot = discord.Bot()  # type: ignore[no-untyped-call] # py-cord does not annotate it
    add_commands(bot, cast("CommandServices", None))
    return {name for command in bot.pending_application_commands for name in names_of(command)}


def preferences(application: BotApplication) -> Any:
    """What the bot knows of people."""
    return application._parts.preferences
