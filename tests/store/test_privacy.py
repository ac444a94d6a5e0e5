"""What is known about a person, and forgetting it."""

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

from discordplex.engine import Persona
from discordplex.store.records import (
    Choice,
    GuildSettings,
    Owner,
    PersonSettings,
    QueueEntry,
    SavedPersona,
    StoredAboutPerson,
    TranscriptLine,
)
from discordplex.store.store import Store, open_store

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
COOK = Persona(voice="NATF1.pt", text_prompt="You are a cook.")
MARK = "a sentence that nobody else says"


def everything(user_id: int) -> StoredAboutPerson:
    """What `fill` stores about a person."""
    return StoredAboutPerson(
        settings=PersonSettings(user_id, choice=Choice(voice="NATF1.pt")),
        personas=(SavedPersona(Owner("person", user_id), "Cook", COOK),),
        waiting=(QueueEntry(1, user_id, user_id, NOON),),
        transcript_lines=((1, 1), (2, 2)),
    )


async def fill(store: Store, user_id: int) -> None:
    stored = everything(user_id)
    await store.people.change(user_id, lambda _: stored.settings)
    await store.personas.save(*stored.personas)
    await store.queue.enter(stored.waiting[0])
    for guild_id, count in stored.transcript_lines:
        await store.guilds.change(guild_id, lambda now: replace(now, transcripts=True))
        await store.transcripts.keep([TranscriptLine(guild_id, "call", user_id, NOON, MARK)] * count)


async def test_all_that_is_stored_is_shown(store: Store) -> None:
    """Each kind of row that a person has anywhere, and nobody else's."""
    await fill(store, 5)
    await fill(store, 6)
    assert await store.privacy.what_is_stored(5) == everything(5)
    assert not everything(5).nothing
    assert (await store.privacy.what_is_stored(7)).nothing


async def test_forgetting_a_person(store: Store) -> None:
    """Nothing of theirs stays, what was there is told, the others keep theirs, and their channel keeps its place."""
    await fill(store, 5)
    await fill(store, 6)
    await store.personas.save(SavedPersona(Owner("guild", 5), "Cook", COOK))
    assert await store.privacy.forget(5) == everything(5)
    assert (await store.privacy.what_is_stored(5)).nothing
    assert await store.privacy.what_is_stored(6) == everything(6)
    assert await store.queue.list() == (QueueEntry(1, 5, None, NOON), QueueEntry(1, 6, 6, NOON))
    assert await store.personas.list(Owner("guild", 5)) != ()


async def test_forgetting_does_not_make_anybody_heard(store: Store) -> None:
    """An opt-out outlives its owner's other data, until they take it back too."""
    await fill(store, 5)
    await store.people.opt_out(5)
    await store.privacy.forget(5)
    assert await store.privacy.what_is_stored(5) == StoredAboutPerson(PersonSettings(5, opted_out=True), (), (), ())
    await store.people.opt_in(5)
    assert (await store.privacy.what_is_stored(5)).nothing
    assert await store.people.opted_out() == frozenset()


async def test_forgetting_a_guild(store: Store) -> None:
    """Its settings with their rules, personas, places and transcripts go; those of people and other guilds stay."""
    await fill(store, 5)
    await store.guilds.change(1, lambda now: now.with_rule("role", 3, allowed=False))
    await store.personas.save(SavedPersona(Owner("guild", 1), "Cook", COOK))
    await store.privacy.forget_guild(1)
    assert await store.guilds.get(1) == GuildSettings(1)
    assert await store.personas.list(Owner("guild", 1)) == ()
    assert await store.queue.list() == ()
    assert await store.transcripts.calls(1) == ()
    await store.guilds.change(1, lambda now: now)
    assert await store.guilds.get(1) == GuildSettings(1), "its rules come back with it"
    stored = await store.privacy.what_is_stored(5)
    assert stored == replace(everything(5), waiting=(), transcript_lines=((2, 2),))


async def test_what_was_deleted_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    """SQLite would leave deleted text in free pages and in its journal; here the bytes are gone while the store is still open."""

    def bytes_on_disk() -> bytes:
        return b"".join(one.read_bytes() for one in tmp_path.iterdir())

    async with open_store(f"sqlite:///{tmp_path}/settings.db") as store:
        await fill(store, 5)
        assert MARK.encode() in bytes_on_disk()
        await store.privacy.forget(5)
        assert MARK.encode() not in bytes_on_disk()
        await fill(store, 5)
        await store.transcripts.delete(1)
        await store.transcripts.delete(2)
        assert MARK.encode() not in bytes_on_disk()
