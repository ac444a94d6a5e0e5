"""However a call ends, its notice says so: nothing goes on claiming that somebody listens."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from discordplex.bot.call.conversation import Conversation
from discordplex.bot.chat import poster
from tests.bot.street import REAL_WRITE_INTERVAL_S, Street


async def everybody_leaves(street: Street) -> None:
    street.discord.leave(street.ada)


async def sent_away(street: Street) -> None:
    await street.press("leave")


async def thrown_out(street: Street) -> None:
    street.discord.leave(street.bot)


async def nothing_more(_street: Street) -> None:
    """The process is told to stop."""


ENDINGS = [everybody_leaves, sent_away, thrown_out, nothing_more]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_notice_says_that_the_call_has_ended(
    street: Street, monkeypatch: pytest.MonkeyPatch, ending: Callable[[Street], Awaitable[None]]
) -> None:
    """People leave, somebody sends the bot away, a moderator throws it out, the process is stopped: at Discord's real pace."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "Go ahead")
        street.engine.inject(b"\x02 Some last words that are being written down.")
        await street.says(street.lounge, "last words")
        await ending(street)
        if ending is not nothing_more:
            await street.says(street.lounge, "The call has ended after")
    assert any("The call has ended after" in text for text in street.texts(street.lounge))
    assert not any("I am listening" in text for text in street.texts(street.lounge))


async def test_a_call_that_breaks_says_that_it_has_ended(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in it costs the call, and leaves no notice behind that is not true."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    converse = Conversation.run

    async def break_off(self: Conversation, **how: Any) -> str | None:
        running = asyncio.ensure_future(converse(self, **how))
        await street.says(street.lounge, "Go ahead")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        raise ZeroDivisionError

    monkeypatch.setattr(Conversation, "run", break_off)
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "The call has ended after")
        assert not any("I am listening" in text for text in street.texts(street.lounge))
        street.discord.leave(street.ada)
        await street.sits_in(None)


async def test_the_notice_goes_with_the_call(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the channel that it left nothing says that it listens; in the new one it does."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", REAL_WRITE_INTERVAL_S)
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.says(street.lounge, "Go ahead")
        street.discord.enter(street.ada, street.study)
        await street.sits_in(street.study)
        await street.says(street.study, "Go ahead")
        await street.says(street.lounge, f"I have gone to <#{street.study.id}>")
        assert not any("I am listening" in text for text in street.texts(street.lounge))
    assert any("The call has ended" in text for text in street.texts(street.study))
