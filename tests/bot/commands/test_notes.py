"""/notes, used on the loopback Discord: switched on by admins, posted after a call, deleted by a button."""

from typing import Any

import pytest

from discordplex.bot import guild_rules, texts
from discordplex.bot.commands.notes import DELETE_ID
from tests.home import Home


async def settings(home: Home, action: str, **options: Any) -> str:
    return (await home.press(action, options)).content


async def test_notes_need_an_admin_and_transcripts(home: Home) -> None:
    """Others are refused, and without transcripts there is nothing to make notes of."""
    async with home.bot_running():
        assert (await home.press("notes", {"state": "on"}, person=home.ben)).content == texts.waiting.ADMINS_ONLY
        assert await settings(home, "notes", state="on") == texts.notes.NEED_TRANSCRIPTS
        await settings(home, "settings transcripts", state="on")
        assert "notes after calls: on" in await settings(home, "notes", state="on")
        assert "notes after calls: off" in await settings(home, "settings transcripts", state="off")
        assert "notes after calls: off" in await settings(home, "notes", state="off")


async def test_notes_are_posted_and_deleted(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call was long enough (a minute is short here); an admin deletes the notes with their button, others may not."""
    monkeypatch.setattr(guild_rules, "MINUTE_S", 0.05)
    async with home.bot_running():
        await settings(home, "settings transcripts", state="on")
        await settings(home, "notes", state="on")
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "after the call I post who was there, and for how long")
        await home.says(home.lounge, "Go ahead")
        await home.discord.wait_for(lambda: home.lounge.status == "listening")
        home.discord.leave(home.ada)
        await home.says(home.lounge, "Notes of the call in")
        (notes,) = [message for message in home.messages(home.lounge) if "Notes of the call" in message.content]
        assert f"{home.ada.name} (" in notes.content
        refused = await home.discord.press_button(notes, DELETE_ID, home.ben)
        assert refused.content == texts.waiting.ADMINS_ONLY
        assert (await home.discord.press_button(notes, DELETE_ID, home.ada)).content == texts.notes.DELETED
        assert notes.deleted_at_s is not None
        assert (await home.discord.press_button(notes, DELETE_ID, home.ada)).content == texts.notes.NO_LONGER_THERE
