"""Tests of discordplex.loopback.discord.world.chat."""

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.world.chat import Chat
from discordplex.loopback.discord.world.directory import Directory
from discordplex.loopback.discord.world.model import Fact, MessageDeleted, MessageEdited, MessagePosted, Noted


async def test_a_message_keeps_its_history() -> None:
    """Each edit is a revision with its time; the embeds change without one; a deleted message is gone but on record."""
    clock = FakeClock(100.0)
    directory = Directory(clock)
    told: list[Fact] = []
    directory.subscribe(told.append)
    chat = Chat(directory)
    message = chat.post("7", "1", {"content": "one", "flags": 4})
    await clock.advance(1.5)
    chat.edit(message, {"content": "two"})
    chat.edit(message, {"embeds": [{"title": "t"}]})
    chat.delete(message)
    assert [(revision.at_s, revision.content) for revision in message.revisions] == [(100.0, "one"), (101.5, "two")]
    assert (message.content, message.flags, message.created_at_s) == ("two", 4, 100.0)
    assert told == [MessagePosted(message), MessageEdited(message), MessageEdited(message), MessageDeleted(message)]
    assert chat.find("7", message.id) is None
    assert chat.of("7") == [message]


def test_an_ephemeral_message_is_never_told() -> None:
    """What was composed but not published changes without anybody else learning its content."""
    directory = Directory(FakeClock())
    told: list[Fact] = []
    directory.subscribe(told.append)
    chat = Chat(directory)
    message = chat.compose("7", "1", {"content": "psst", "flags": 64})
    chat.edit(message, {"content": "psst!"})
    assert all(isinstance(fact, Noted) for fact in told)
    assert chat.of("7") == []
