"""Who does not want to be heard is not, in real calls on the loopback: from the moment the button is pressed, and in later ones."""

from pathlib import Path

import pytest

from discordplex.audio.wav import read_wav
from discordplex.bot import texts
from discordplex.bot.chat import poster
from discordplex.bot.commands.privacy import DONT_LISTEN_ID, FORGET_ID, LISTEN_ID
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.rest.interactions import Interaction
from discordplex.loopback.discord.world.model import ChatMessage, User
from tests.end_to_end.sound import CLIP
from tests.home import REAL_WRITE_INTERVAL_S, Home
from tests.store.locks import locked

SENTENCE = read_wav(CLIP)[:28_800]


def decoded(home: Home) -> int:
    return home.metrics.counter("voice.rx.frames").value


async def greeting(home: Home) -> ChatMessage:
    await home.says(home.lounge, "Go ahead")
    mine = (message for message in home.discord.messages(home.lounge) if message.author_id == home.bot.id)
    return next(message for message in mine if "listening" in message.content)


async def press(home: Home, message: ChatMessage, button: str, person: User | None = None) -> Interaction:
    return await home.discord.press_button(message, button, person or home.ada)


async def test_the_greeting_says_who_listens_and_has_the_buttons(encrypted_home: Home) -> None:
    """One sentence: who, where it goes, that nothing is kept; and the privacy code, the one that people see in their own client."""
    home = encrypted_home
    async with home.bot_running(), Person(home.discord, home.ada, home.lounge.id, e2ee="libdave") as ada:
        message = await greeting(home)
        first = message.content.partition(". ")[0]
        assert "I am listening" in first
        assert "goes to PersonaPlex" in first
        assert "127.0.0.1" not in message.content
        assert f"I came for {home.ada.name}." in message.content
        assert "nothing of it is kept" in first
        await home.discord.wait_for(lambda: code_of(ada) in message.content)
        before = code_of(ada)
        async with Person(home.discord, home.ben, home.lounge.id, e2ee="libdave"):
            await home.discord.wait_for(lambda: before != code_of(ada) and code_of(ada) in message.content)
    labels = [button["label"] for row in message.body["components"] for button in row["components"]]
    assert labels == [texts.privacy.DONT_LISTEN, texts.privacy.LISTEN_AGAIN]


def code_of(person: Person) -> str:
    """What the person's own client shows, in groups of five digits."""
    digits = "".join(((person.member and person.member.privacy_code) or "there is none").split())
    return " ".join(digits[start : start + 5] for start in range(0, len(digits), 5))


async def test_who_presses_is_not_decoded_from_then_on(home: Home) -> None:
    """Others are; who takes it back is heard again; nothing is sent for who is not heard."""
    async with (
        home.bot_running(),
        Person(home.discord, home.ada, home.lounge.id) as ada,
        Person(home.discord, home.ben, home.lounge.id) as ben,
    ):
        message = await greeting(home)
        await ada.say(SENTENCE)
        assert decoded(home) > 0
        pressed = await press(home, message, DONT_LISTEN_ID)
        assert (pressed.content, pressed.ephemeral) == (texts.privacy.NOT_HEARD, True)
        before = decoded(home)
        await ada.say(SENTENCE)
        assert decoded(home) == before
        await ben.say(SENTENCE)
        assert decoded(home) > before
        assert (await press(home, message, LISTEN_ID, home.ben)).content == texts.privacy.HEARD_ALREADY
        assert (await press(home, message, LISTEN_ID)).content == texts.privacy.HEARD_AGAIN
        before = decoded(home)
        await ada.say(SENTENCE)
        assert decoded(home) > before


async def test_the_wish_holds_in_later_calls_and_after_a_restart(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first packet on. The button below the old greeting still works, and takes it back."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    home.store_url = f"sqlite:///{tmp_path / 'settings.db'}"
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        message = await greeting(home)
        await press(home, message, DONT_LISTEN_ID)
        home.discord.leave(home.ada)
        await home.sits_in(None)
        async with Person(home.discord, home.ada, home.lounge.id) as ada:
            await home.listens(2)
            await ada.say(SENTENCE)
        await home.sits_in(None)
    assert decoded(home) == 0
    async with home.bot_running(), Person(home.discord, home.ada, home.lounge.id) as ada:
        await home.listens(3)
        await ada.say(SENTENCE)
        assert decoded(home) == 0
        assert (await press(home, message, LISTEN_ID)).content == texts.privacy.HEARD_AGAIN
        await ada.say(SENTENCE)
        assert decoded(home) > 0


async def test_a_wish_that_cannot_be_saved_holds_all_the_same(home: Home, tmp_path: Path) -> None:
    """The person is told that it is not saved; the call goes on, and does not hear them."""
    database = tmp_path / "settings.db"
    home.store_url = f"sqlite:///{database}"
    async with home.bot_running(), Person(home.discord, home.ada, home.lounge.id) as ada:
        message = await greeting(home)
        with locked(database):
            said = (await press(home, message, DONT_LISTEN_ID)).content
            assert said.startswith(f"{texts.privacy.NOT_HEARD} This applies now but is not saved yet")
            assert "not saved yet" in (await home.press("voice", {"voice": "VARM0.pt"})).content
            privacy = await home.press("privacy")
            assert "What you say in calls goes to PersonaPlex" in privacy.content
            assert privacy.reply
            assert (await press(home, privacy.reply, DONT_LISTEN_ID)).content.startswith(texts.privacy.NOT_HEARD)
            await ada.say(SENTENCE)
        assert decoded(home) == 0
        assert home.where == home.lounge.id


async def test_privacy_shows_and_deletes(home: Home) -> None:
    """All that is stored about who asks; deleting leaves nothing but a wish not to be heard."""
    async with home.bot_running():
        nothing = await home.press("privacy")
        use_of_speech = "What you say in calls goes to PersonaPlex, and nothing of it is kept."
        assert nothing.content.splitlines() == [use_of_speech, texts.privacy.NOTHING_STORED]
        await home.press("voice", {"voice": "VARM0.pt"})
        await home.press("persona save", {"name": "Pirate"})
        shown = await home.press("privacy")
        assert "voice VARM0.pt" in shown.content
        assert "1 saved persona: Pirate" in shown.content
        assert shown.reply
        assert (await press(home, shown.reply, DONT_LISTEN_ID)).content == texts.privacy.NOT_HEARD
        assert "do not want to be heard" in (await home.press("privacy")).content
        assert (await press(home, shown.reply, FORGET_ID)).content == texts.privacy.FORGOTTEN_BUT_SILENT
        left = (await home.press("privacy")).content
        assert "VARM0" not in left
        assert "Pirate" not in left
        assert "do not want to be heard" in left
        await press(home, shown.reply, LISTEN_ID)
        assert (await home.press("privacy")).content.endswith(texts.privacy.NOTHING_STORED)
        assert "**NATF0.pt**" in (await home.press("voice")).content


async def test_a_bot_without_its_database_says_so(home: Home, tmp_path: Path) -> None:
    """It cannot know who asked earlier, and says that a wish lasts until its next start only."""
    broken = tmp_path / "settings.db"
    broken.write_bytes(b"not a database at all" * 100)
    home.store_url = f"sqlite:///{broken}"
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        message = await greeting(home)
        assert "who asked me not to listen" in message.content
        assert "not saved yet" in (await press(home, message, DONT_LISTEN_ID)).content
        heard = (await press(home, message, LISTEN_ID, home.ben)).content
        privacy = await home.press("privacy")
        assert "What you say in calls goes to PersonaPlex" in privacy.content
        assert privacy.reply
        assert (await press(home, privacy.reply, DONT_LISTEN_ID)).content.startswith(texts.privacy.NOT_HEARD)
        assert heard.startswith(texts.privacy.HEARD_AGAIN), "nobody knows that he has not asked; his wish is saved"
        assert "not saved yet" in heard


@pytest.mark.parametrize("button", [DONT_LISTEN_ID, LISTEN_ID, FORGET_ID])
async def test_buttons_work_below_any_old_message(home: Home, button: str) -> None:
    """Their ids alone say what to do."""
    row = {"type": 1, "components": [{"type": 2, "style": 2, "label": "x", "custom_id": button}]}
    old = home.discord.world.chat.post(home.guild.text_channel.id, home.bot.id, {"content": "old", "components": [row]})
    async with home.bot_running():
        await home.commands_there()
        assert (await press(home, old, button)).content in (texts.privacy.NOT_HEARD, texts.privacy.HEARD_ALREADY, texts.privacy.FORGOTTEN)
