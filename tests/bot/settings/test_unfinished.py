"""Messages that say that a call goes on are remembered, and edited by the next process where this one cannot."""

import itertools
from pathlib import Path

import anyio
import pytest

from discordplex.bot import login
from discordplex.bot.settings.unfinished import StoredUnfinishedNotices
from discordplex.bot.texts.calls import ENDED, INTERRUPTED
from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.world.model import ChatMessage
from discordplex.store.records import UnfinishedNotice
from discordplex.store.store import open_store
from tests.bot.fakes import FakeMessage
from tests.bot.hall import BOT, CHAT, GUILD, Hall, hall
from tests.home import Home


async def remembered(it: Hall) -> list[int]:
    """The ids in the store, once everything is saved."""
    while it.preferences.waiting:
        await it.clock.advance(0.1)
    return [one.message_id for one in await it.store.notices.list()]


async def test_a_notice_is_remembered_until_it_says_that_the_call_has_ended(clock: FakeClock) -> None:
    """From the moment that Discord has it, however often it changes; each new one of the call too."""
    async with hall(clock) as it:
        first = it.chat.messages[0].id
        assert await it.store.notices.list() == (UnfinishedNotice(first, CHAT, GUILD, BOT),)
        await it.switch(transcripts=True)
        second = it.chat.messages[1].id
        assert await remembered(it) == [second]
        await it.says("Hello.")
        assert await remembered(it) == [second], "captions are none"
        await it.end()
        assert await remembered(it) == []
        assert ENDED in it.chat.messages[1].text


async def test_a_notice_that_could_not_be_edited_stays_remembered(clock: FakeClock) -> None:
    """Discord is away when the call ends: the next process edits it."""
    async with hall(clock) as it:
        message = it.chat.messages[0]
        it.chat.faults = [OSError()] * 100
        await it.end()
        assert await remembered(it) == [message.id]


async def test_a_notice_that_somebody_deleted_is_forgotten(clock: FakeClock) -> None:
    """There is nothing to edit."""
    async with hall(clock) as it:
        it.notices.deleted(CHAT, [it.chat.messages[0].id])
        assert await remembered(it) == []


async def test_a_notice_that_was_on_its_way_when_the_call_ended_is_forgotten(clock: FakeClock) -> None:
    """Discord takes it after the end: it is edited, and not remembered for longer."""
    async with hall(clock) as it:

        def end() -> None:
            it.chat.meanwhile = lambda: None
            it.call._announcer.ended(1)

        it.chat.meanwhile = end
        await it.switch(transcripts=True)
        await clock.advance(2)
        assert len(it.chat.messages) == 2
        assert await remembered(it) == []
        assert ENDED in it.chat.messages[1].text


async def test_only_this_bots_are_left(clock: FakeClock) -> None:
    """Another bot on the same database edits its own; what this login wrote itself is not left."""
    async with hall(clock) as it:
        for number in (1, 2):
            await it.store.notices.add(UnfinishedNotice(number, 11, 1, number))
        unfinished = StoredUnfinishedNotices(it.preferences)
        await unfinished.load()
        unfinished.logged_in(1)
        unfinished.began(1, 11, 3)
        assert [one.message_id for one in unfinished.interrupted] == [1]
        unfinished.ended(1)
        assert unfinished.interrupted == ()
        assert await remembered(it) == [2, 3, it.chat.messages[0].id]


async def test_a_message_of_an_earlier_process_waits_its_turn_among_the_others(clock: FakeClock) -> None:
    """Editing it keeps the pace of its channel, and happens although Discord is away for a moment."""
    async with hall(clock) as it:
        left = it.chat.left = FakeMessage(it.chat, ["I am listening"], id=7)
        it.chat.faults = [OSError()]
        it.notices.replace(it.chat, left.id, INTERRUPTED)
        await it.says("Hello.")
        await clock.advance(5)
        assert left.texts == ["I am listening", INTERRUPTED]
        times = [at for at, _ in it.chat.writes]
        assert all(later - sooner >= 1 for sooner, later in itertools.pairwise(times))


def post(home: Home, index: int) -> ChatMessage:
    """A notice of a bot, with a button below it."""
    row = {"type": 1, "components": [{"type": 2, "style": 2, "label": "x", "custom_id": "x"}]}
    chat = home.discord.world.chat
    return chat.post(home.lounge.id, home.discord.bots[index].id, {"content": "I am listening in", "components": [row]})


async def test_what_a_killed_process_left_is_ended_at_the_start(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message gets its sentence and loses its buttons.

    Messages and channels that are gone, or closed to us, are forgotten, and so are servers that are gone; those of another bot are its own.
    """
    monkeypatch.setattr(login, "EDIT_PAUSE_S", 0.0)
    home.store_url = f"sqlite:///{tmp_path}/settings.db"
    left, deleted, elsewhere, others = post(home, 0), post(home, 0), post(home, 0), post(home, 1)
    home.discord.world.chat.delete(deleted)
    closed = home.discord.world.chat.post(home.study.id, home.bot.id, {"content": "I am listening in"})
    home.discord.deny(home.guild, home.study, home.bot, "view_channel")
    guild_id, bot_id = int(home.guild.id), int(home.bot.id)
    async with open_store(home.store_url) as store:
        for message in (left, deleted, closed):
            await store.notices.add(UnfinishedNotice(int(message.id), int(message.channel_id), guild_id, bot_id))
        await store.notices.add(UnfinishedNotice(int(left.id) + 1, 4, guild_id, bot_id))
        await store.notices.add(UnfinishedNotice(int(elsewhere.id), int(elsewhere.channel_id), 999, bot_id))
        theirs = UnfinishedNotice(int(others.id), int(others.channel_id), guild_id, int(home.discord.bots[1].id))
        await store.notices.add(theirs)
    async with home.bot_running():
        assert home.store
        with anyio.fail_after(10 * timeouts.FACTOR):
            while await home.store.notices.list() != (theirs,):  # noqa: ASYNC110 - the store tells nobody when it has saved something
                await anyio.sleep(0.02)
    assert left.content == INTERRUPTED
    assert left.body["components"] == []
    assert elsewhere.content == closed.content == others.content == "I am listening in"
