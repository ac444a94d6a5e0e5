"""However a call ends, its notice says so: nothing goes on claiming that somebody listens."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from discordplex.bot.call.conversation import Conversation
from discordplex.bot.chat import poster
from discordplex.tasks import cancel_and_wait
from tests.home import REAL_WRITE_INTERVAL_S, Home


async def everybody_leaves(home: Home) -> None:
    home.discord.leave(home.ada)


async def sent_away(home: Home) -> None:
    await home.press("leave")


async def thrown_out(home: Home) -> None:
    home.discord.leave(home.bot)


async def nothing_more(_home: Home) -> None:
    """The process is told to stop."""


ENDINGS = [everybody_leaves, sent_away, thrown_out, nothing_more]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_notice_says_that_the_call_has_ended(
    home: Home, monkeypatch: pytest.MonkeyPatch, ending: Callable[[Home], Awaitable[None]]
) -> None:
    """People leave, somebody sends the bot away, a moderator throws it out, the process is stopped: at Discord's real pace."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        home.engine.inject(b"\x02 Some last words that are being written down.")
        await home.says(home.lounge, "last words")
        await ending(home)
        if ending is not nothing_more:
            await home.says(home.lounge, "The call has ended after")
    assert any("The call has ended after" in text for text in home.texts(home.lounge))
    assert not any("I am listening" in text for text in home.texts(home.lounge))


async def test_a_call_that_breaks_says_that_it_has_ended(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in it costs the call, and leaves no notice behind that is not true."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    converse = Conversation.run

    async def break_off(self: Conversation, **how: Any) -> str | None:
        running = asyncio.ensure_future(converse(self, **how))
        await home.says(home.lounge, "Go ahead")
        await cancel_and_wait(running)
        raise ZeroDivisionError

    monkeypatch.setattr(Conversation, "run", break_off)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "The call has ended after")
        assert not any("I am listening" in text for text in home.texts(home.lounge))
        home.discord.leave(home.ada)
        await home.sits_in(None)


async def test_the_notice_goes_with_the_call(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the channel that it left nothing says that it listens; in the new one it does."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.says(home.lounge, "Go ahead")
        home.discord.enter(home.ada, home.study)
        await home.sits_in(home.study)
        await home.says(home.study, "Go ahead")
        await home.says(home.lounge, f"I have moved to <#{home.study.id}>")
        assert not any("I am listening" in text for text in home.texts(home.lounge))
    assert any("The call has ended" in text for text in home.texts(home.study))
