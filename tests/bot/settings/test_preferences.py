"""What is in force: a person's choice over a guild's over the configuration's, from a real store."""

import asyncio
import contextlib
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from discordplex.bot.guild_rules import CaptionsPlace
from discordplex.bot.settings.preferences import MOST_CHANGES, MOST_PEOPLE, StoredPreferences
from discordplex.config import BotConfig, Config, PersonaConfig
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.store.database import Database
from discordplex.store.fence import NoFence
from discordplex.store.guilds import MOST_AT_ONCE
from discordplex.store.records import CaptionsSetting, Choice, GuildSettings, Owner, SavedPersona, SaveStatus
from discordplex.store.store import Store, open_store
from discordplex.tasks import cancel_and_wait
from tests.bot.fakes import CountedEngines
from tests.store.locks import locked

GUILD, ANNA, BERT = 1, 100, 200
BUSY_S = 0.3
"""How long a lock is waited for; a busy machine needs a good part of it for a change that meets none."""
MINE = Owner("person", ANNA)
PIRATE = SavedPersona(MINE, "Pirate", Persona("NATM1.pt", "You are a pirate with a secret."))
DEFAULT = Persona(voice="NATF0.pt", text_prompt="You are a test.")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "settings.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{database}") as opened:
        yield opened


@pytest.fixture
def engines() -> CountedEngines:
    return CountedEngines()


@pytest.fixture
def preferences(store: Store, engines: CountedEngines, clock: FakeClock) -> StoredPreferences:
    return made(store, engines, clock=clock)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short wait for a lock is a lock's fault on a busy machine too, and not the database's silence."""
    monkeypatch.setattr("discordplex.store.store.PATIENCE", 100)


@pytest.fixture
async def hasty(database: Path, engines: CountedEngines, clock: FakeClock) -> AsyncIterator[StoredPreferences]:
    """Preferences that wait briefly for a lock of somebody else; for tests that hold one."""
    async with open_store(f"sqlite:///{database}", busy_s=BUSY_S) as opened, made(opened, engines, clock=clock) as preferences:
        yield preferences


def made(store: Store, engines: CountedEngines, clock: FakeClock | None = None, **bot: object) -> StoredPreferences:
    persona = PersonaConfig(voice=DEFAULT.voice, text_prompt=DEFAULT.text_prompt)
    config = Config(bot=BotConfig.model_validate(bot), persona=persona)
    return StoredPreferences(config=config, provider=engines, store=store, clock=clock)


async def saved(preferences: StoredPreferences, clock: FakeClock) -> None:
    """Let time pass until nothing waits any more."""
    while preferences.waiting:
        await clock.advance(1)
        await asyncio.sleep(0.001)  # the database's own threads work in real time


async def choose(preferences: StoredPreferences, user_id: int, choice: Choice) -> None:
    await preferences.change_person(user_id, lambda now: replace(now, choice=choice))


async def test_a_persons_choice_goes_before_the_guilds_and_that_before_the_configurations(preferences: StoredPreferences) -> None:
    """Each part of a persona for itself: who chose only a voice has the guild's role."""
    assert await preferences.persona(GUILD, ANNA) == DEFAULT
    await preferences.change_guild(GUILD, lambda now: replace(now, choice=Choice(text_prompt="You are a pirate.")))
    assert await preferences.persona(GUILD, None) == Persona("NATF0.pt", "You are a pirate.")
    await choose(preferences, ANNA, Choice(voice="NATM1.pt"))
    assert await preferences.persona(GUILD, ANNA) == Persona("NATM1.pt", "You are a pirate.")
    assert await preferences.persona(GUILD, BERT) == Persona("NATF0.pt", "You are a pirate.")
    assert await preferences.persona(2, ANNA) == Persona("NATM1.pt", DEFAULT.text_prompt)


async def test_a_choice_that_the_engine_refuses_is_passed_over(preferences: StoredPreferences, engines: CountedEngines) -> None:
    """What was saved for another engine costs no call."""
    await choose(preferences, ANNA, Choice(voice="NATM1.pt"))
    engines.refuses = "Never heard of it."
    assert await preferences.persona(GUILD, ANNA) == DEFAULT


async def test_rules_are_the_guilds_over_the_configurations(store: Store, engines: CountedEngines) -> None:
    """What the guild did not decide is as configured; what the configuration denies no guild can allow."""
    preferences = made(store, engines, captions="77", idle_minutes=5, deny_channels=["7"], allow_roles=["9"])
    assert preferences.rules(GUILD).captions == CaptionsPlace("channel", 77)

    def change(now: GuildSettings) -> GuildSettings:
        now = replace(now, captions=CaptionsSetting("thread", 5), max_minutes=30, transcripts=True).with_rule("channel", 7, allowed=True)
        return now.with_rule("channel", 8, allowed=False).with_rule("role", 3, allowed=True)

    await preferences.change_guild(GUILD, change)
    rules = preferences.rules(GUILD)
    assert (rules.captions, rules.idle_minutes, rules.max_minutes) == (CaptionsPlace("thread", 5), 5, 30)
    assert (rules.allow_channels, rules.deny_channels) == (frozenset({7}), frozenset({7, 8}))
    assert (rules.allow_roles, rules.transcripts) == (frozenset({3}), True)
    assert not preferences.rules(2).transcripts


@pytest.mark.parametrize(("operators", "own", "in_force"), [(0, None, 0), (0, 5, 5), (10, None, 10), (10, 5, 5), (10, 0, 10), (10, 60, 10)])
async def test_a_guild_cannot_lift_the_time_box(
    store: Store, engines: CountedEngines, operators: int, own: int | None, in_force: int
) -> None:
    """The other guilds wait for it: a guild's own limit counts where it is shorter."""
    preferences = made(store, engines, max_minutes=operators)
    await preferences.change_guild(GUILD, lambda now: replace(now, max_minutes=own))
    assert preferences.rules(GUILD).max_minutes == in_force


async def test_settings_outlive_a_restart(store: Store, engines: CountedEngines) -> None:
    """Another process reads them before it decides anything."""
    before = made(store, engines)
    await before.change_guild(GUILD, lambda now: replace(now, transcripts=True))
    before.silence(ANNA)
    await before.silence(ANNA)
    after = made(store, engines)
    await after.load()
    assert after.opted_out == {ANNA}
    assert not after.knows(GUILD)
    await after.learn(GUILD)
    assert after.knows(GUILD)
    assert after.rules(GUILD).transcripts


async def test_who_is_silenced_is_so_at_once_and_calls_are_told(preferences: StoredPreferences) -> None:
    """Before anything is saved; and taking it back holds as soon as it is saved."""
    told: list[frozenset[int]] = []
    preferences.changed = lambda: told.append(preferences.opted_out)
    preferences.silence(ANNA)
    assert told == [{ANNA}]
    await preferences.silence(ANNA)
    assert (await preferences.person(ANNA)).opted_out
    await preferences.listen(ANNA)
    assert told == [{ANNA}, frozenset()]
    assert not (await preferences.person(ANNA)).opted_out


async def test_a_change_while_the_database_is_away_holds_and_is_saved_later(
    hasty: StoredPreferences, database: Path, clock: FakeClock
) -> None:
    """Each kind of change holds at once, says that it is not saved, and is saved by itself when the database is there again."""
    preferences = hasty
    with locked(database):
        save_statuses = [
            await preferences.change_guild(GUILD, lambda now: replace(now, transcripts=True)),
            await preferences.change_person(ANNA, lambda now: replace(now, choice=Choice(voice="NATM1.pt"))),
            await preferences.change_personas(MINE, {"pirate": PIRATE}),
            await preferences.silence(BERT),
            await preferences.silence(ANNA),
            await preferences.listen(ANNA),
        ]
        assert {save_status.saved for save_status in save_statuses} == {False}
        assert all(save_status.why == "Another program is using the database." for save_status in save_statuses)
        assert preferences.rules(GUILD).transcripts
        assert (await preferences.persona(GUILD, ANNA)).voice == "NATM1.pt"
        assert await preferences.personas(MINE) == (PIRATE,)
        assert preferences.opted_out == {BERT}
    await saved(preferences, clock)
    later = made(preferences.store, CountedEngines())
    await later.load()
    await later.learn(GUILD)
    assert later.opted_out == {BERT}
    assert later.rules(GUILD).transcripts
    assert (await later.persona(GUILD, ANNA)).voice == "NATM1.pt"
    assert await later.personas(MINE) == (PIRATE,)


async def test_changes_that_waited_leave_alone_what_others_changed_meanwhile(
    hasty: StoredPreferences, database: Path, clock: FakeClock
) -> None:
    """Several changes of one server that wait are saved as what they change, and not as all settings of that time."""
    preferences = hasty
    await preferences.learn(GUILD)
    await preferences.person(ANNA)
    with locked(database):
        for minutes in (3, 4):
            preferences.change_guild(GUILD, lambda now, minutes=minutes: replace(now, idle_minutes=minutes))  # type: ignore[misc]
            await preferences.change_person(ANNA, lambda now: replace(now, choice=replace(now.choice, voice="NATM1.pt")))
    await preferences.store.guilds.change(GUILD, lambda now: replace(now, transcripts=True))
    await saved(preferences, clock)
    found = await preferences.store.guilds.get(GUILD)
    assert (found.idle_minutes, found.transcripts) == (4, True)


async def test_a_wish_to_be_heard_from_before_a_freeze_is_dropped(preferences: StoredPreferences, clock: FakeClock) -> None:
    """The person may have opted out in another process since: what is stored counts."""

    class Woken(NoFence):
        async def passable(self) -> None:
            self.deaths = 1

    async with preferences:
        await preferences.silence(ANNA)
        preferences.store.fence = Woken()
        with pytest.raises(StoreError, match="heard again was not saved"):
            await preferences.listen(ANNA)
        assert preferences.opted_out == {ANNA}
        assert await preferences.store.people.opted_out() == {ANNA}
        await preferences.listen(ANNA)
        await saved(preferences, clock)
        assert preferences.opted_out == frozenset()


async def test_a_wish_that_nobody_awaits_is_saved(preferences: StoredPreferences, clock: FakeClock) -> None:
    """Whatever becomes of the answer to Discord: calling the method is enough."""
    preferences.silence(ANNA)
    preferences.change_person(BERT, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
    await saved(preferences, clock)
    assert await preferences.store.people.opted_out() == {ANNA}
    assert (await preferences.store.people.get(BERT)).choice.voice == "NATM1.pt"


async def test_a_caller_who_is_cancelled_cancels_no_wish(preferences: StoredPreferences, clock: FakeClock) -> None:
    """As when Discord's interaction ends."""
    waiting = asyncio.ensure_future(preferences.silence(ANNA))
    await asyncio.sleep(0)
    await cancel_and_wait(waiting)
    await saved(preferences, clock)
    assert await preferences.store.people.opted_out() == {ANNA}


async def test_what_the_database_never_takes_is_refused_and_undone(preferences: StoredPreferences) -> None:
    """A sentence, nothing has changed, and nothing of it is tried again."""
    await choose(preferences, ANNA, Choice(voice="NATM1.pt"))
    with pytest.raises(StoreError, match="does not accept"):
        await choose(preferences, ANNA, Choice(voice="\ud800"))
    with pytest.raises(StoreError, match="does not accept"):
        await preferences.change_guild(GUILD, lambda now: replace(now, idle_minutes=2**70))
    assert (await preferences.persona(GUILD, ANNA)).voice == "NATM1.pt"
    assert preferences.guild(GUILD).idle_minutes is None
    assert preferences.waiting == 0


async def test_changes_that_wait_are_bounded(hasty: StoredPreferences, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further ones are refused in words; of one thing only the last counts, so that it is never refused."""
    monkeypatch.setattr("discordplex.bot.settings.write_behind.MOST_WAITING", 2)
    with locked(database):
        for _ in range(3):
            await hasty.silence(ANNA)
            await hasty.listen(ANNA)
        await hasty.silence(BERT)
        with pytest.raises(StoreError, match="too many changes wait"):
            hasty.silence(300)
        assert hasty.opted_out == {BERT, 300}
        for number in range(MOST_CHANGES):
            await hasty.change_guild(GUILD, lambda now, number=number: replace(now, idle_minutes=number))  # type: ignore[misc]
        with pytest.raises(StoreError, match="too many changes wait"):
            hasty.change_guild(GUILD, lambda now: replace(now, idle_minutes=99))
        assert hasty.guild(GUILD).idle_minutes == MOST_CHANGES - 1


async def test_changes_of_settings_that_are_known_become_one(hasty: StoredPreferences, database: Path) -> None:
    """However often an admin changes something while the database is away."""
    await hasty.learn(GUILD)
    with locked(database):
        for number in range(3 * MOST_CHANGES):
            await hasty.change_guild(GUILD, lambda now, number=number: replace(now, idle_minutes=number))  # type: ignore[misc]
        assert hasty.waiting == 1
        assert hasty.guild(GUILD).idle_minutes == 3 * MOST_CHANGES - 1


async def test_what_waits_is_tried_once_more_at_the_end(database: Path, clock: FakeClock, engines: CountedEngines) -> None:
    """A database that is there by then has it."""
    async with open_store(f"sqlite:///{database}", busy_s=BUSY_S) as store, made(store, engines, clock=clock) as preferences:
        with locked(database):
            assert not (await preferences.silence(ANNA)).saved
    async with open_store(f"sqlite:///{database}") as again:
        assert await again.people.opted_out() == {ANNA}


async def test_a_deletion_while_the_database_is_away(hasty: StoredPreferences, database: Path, clock: FakeClock) -> None:
    """Nothing of it is used any more, nothing that waited is saved first, and it is deleted later; what comes after it is kept."""
    preferences = hasty
    await choose(preferences, ANNA, Choice(text_prompt="You are a first secret."))
    await preferences.change_personas(MINE, {"pirate": PIRATE})
    with locked(database):
        await choose(preferences, ANNA, Choice(text_prompt="You are a second secret."))
        deleted = await preferences.forget(ANNA)
        assert (deleted.save_status.saved, deleted.stored) == (False, None)
        assert await preferences.persona(GUILD, ANNA) == DEFAULT
        assert await preferences.personas(MINE) == ()
        await preferences.change_person(ANNA, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
        assert await preferences.persona(GUILD, ANNA) == Persona("NATM1.pt", DEFAULT.text_prompt)
    await saved(preferences, clock)
    assert (await preferences.store.people.get(ANNA)).choice == Choice(voice="NATM1.pt")
    assert await preferences.store.personas.list(MINE) == ()
    everything = b"".join(file.read_bytes() for file in database.parent.iterdir())
    assert b"secret" not in everything


async def test_nobody_learns_what_others_asked_for_while_the_database_is_away(hasty: StoredPreferences, database: Path) -> None:
    """Everybody is told the same reason, and not whose change it was at which the database failed."""
    with locked(database):
        deletion = await hasty.forget(ANNA)
        setting = await hasty.change_guild(GUILD, lambda now: replace(now, transcripts=True))
    assert not deletion.save_status.saved
    assert setting.why == deletion.save_status.why == "Another program is using the database."


async def test_a_database_that_was_away_at_the_start_is_taken_back(database: Path, clock: FakeClock, engines: CountedEngines) -> None:
    """Who opted out is read from it all the same; it is opened without a restart, and gets what was wished meanwhile."""
    async with open_store(f"sqlite:///{database}") as before:
        await before.people.opt_out(ANNA)
    with locked(database):
        opening = open_store(f"sqlite:///{database}", busy_s=BUSY_S, volatile=True)
        store = await opening.__aenter__()
        preferences = made(store, engines, clock=clock)
        await preferences.load()
        assert preferences.opted_out == {ANNA}
        assert preferences.opt_outs_known
        assert not preferences.rules(GUILD).opt_outs_unknown
        await preferences.__aenter__()
        assert store.volatile
        assert not (await preferences.silence(BERT)).saved
    await saved(preferences, clock)
    assert (store.volatile, store.problem) == (False, None)
    assert await store.people.opted_out() == {ANNA, BERT}
    await preferences.__aexit__(None, None, None)
    await opening.__aexit__(None, None, None)


async def test_a_folder_that_appears_later(tmp_path: Path, clock: FakeClock, engines: CountedEngines) -> None:
    """As a disk that is mounted late: people are told that opt-outs are unknown, until they are read, and calls learn of them."""
    folder = tmp_path / "disk"
    async with open_store(f"sqlite:///{tmp_path}/settings.db") as before:
        await before.people.opt_out(ANNA)
    async with open_store(f"sqlite:///{folder}/settings.db", volatile=True) as store, made(store, engines, clock=clock) as preferences:
        told: list[frozenset[int]] = []
        preferences.changed = lambda: told.append(preferences.opted_out)
        await preferences.load()
        rules = preferences.rules(GUILD)
        assert rules.opt_outs_unknown
        await preferences.silence(BERT)
        folder.mkdir()
        (tmp_path / "settings.db").rename(folder / "settings.db")
        await saved(preferences, clock)
        assert not preferences.rules(GUILD).opt_outs_unknown
        assert preferences.opted_out == {ANNA, BERT}
        assert told[-1] == {ANNA, BERT}


def take_away(database: Path, *, put_back: bool) -> None:
    """Remove the files; `put_back` another one with the same content."""
    copy = database.read_bytes()
    for ending in ("", "-wal", "-shm"):
        database.with_name(f"{database.name}{ending}").unlink()
    if put_back:
        database.with_name("copy").write_bytes(copy)
        database.with_name("copy").rename(database)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_a_file_that_is_taken_away_under_the_bot(
    store: Store, preferences: StoredPreferences, database: Path, clock: FakeClock, what: str
) -> None:
    """What is changed then is not written into a file that nobody finds again; who opted out is so in the new file too."""
    await preferences.silence(ANNA)
    async with preferences:
        take_away(database, put_back=what == "replaced")
        assert not (await preferences.silence(BERT)).saved
        await saved(preferences, clock)
        assert not store.moved
        with contextlib.closing(sqlite3.connect(database)) as other:
            assert other.execute("SELECT user_id FROM people WHERE opted_out ORDER BY user_id").fetchall() == [(ANNA,), (BERT,)]


async def test_what_waits_is_bounded_in_bytes(hasty: StoredPreferences, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large personas are refused before many small changes are; wishes about privacy never are for their size."""
    monkeypatch.setattr("discordplex.bot.settings.write_behind.MOST_BYTES", 50_000)
    large = SavedPersona(MINE, "Large", Persona("v", "x" * 10_000))
    with locked(database):
        await hasty.change_personas(MINE, {"large": large})
        with pytest.raises(StoreError, match="too many changes wait"):
            hasty.change_personas(Owner("person", BERT), {"large": large})
        assert await hasty.personas(Owner("person", BERT)) == ()
        await hasty.change_guild(GUILD, lambda now: replace(now, transcripts=True))
        with pytest.raises(StoreError, match="too many changes wait"):
            hasty.change_guild(2, lambda now: replace(now, transcripts=True))
        assert not hasty.guild(2).transcripts
        await hasty.silence(ANNA)
        assert hasty.waiting == 3


async def test_an_older_file_that_is_put_back_makes_nobody_heard(
    preferences: StoredPreferences, store: Store, database: Path, clock: FakeClock
) -> None:
    """A backup from before somebody opted out: what memory knows is written into it."""
    await preferences.silence(ANNA)
    with contextlib.closing(sqlite3.connect(database)) as other, other:
        other.execute("DELETE FROM people")
    await store.recover()
    await preferences.load()
    assert preferences.opted_out == {ANNA}
    await saved(preferences, clock)
    assert await store.people.opted_out() == {ANNA}


async def test_guilds_that_threw_the_bot_out_while_it_was_away_are_forgotten(preferences: StoredPreferences) -> None:
    """Only those of which Discord says for certain that the bot is not in them."""
    for guild_id in (1, 2, 3):
        await preferences.change_guild(guild_id, lambda now: replace(now, transcripts=True))
    asked: list[int] = []

    async def is_missing(guild_id: int) -> bool:
        asked.append(guild_id)
        return guild_id == 2

    await preferences.forget_missing_guilds(is_missing)
    assert asked == [1, 2, 3]
    assert await preferences.store.privacy.guilds() == {1, 3}


@pytest.mark.parametrize("owner", [Owner("person", ANNA), Owner("guild", GUILD)], ids=["person", "guild"])
async def test_personas_that_were_not_saved_yet_are_forgotten_too(
    hasty: StoredPreferences, database: Path, clock: FakeClock, owner: Owner
) -> None:
    """Neither shown while the database is away, nor saved once it is back."""
    with locked(database):
        pirate = SavedPersona(owner, "Pirate", Persona("NATM1.pt", "You are a pirate."))
        assert not (await hasty.change_personas(owner, {"pirate": pirate})).saved
        assert pirate in await hasty.personas(owner)
        await (hasty.forget(ANNA) if owner.kind == "person" else hasty.forget_guild(GUILD))
        assert await hasty.personas(owner) == ()
    await saved(hasty, clock)
    assert await hasty.store.personas.list(owner) == ()


async def test_a_closed_database_costs_no_call(database: Path, engines: CountedEngines) -> None:
    """Nothing can be read any more: the configuration holds, and is asked again later."""
    async with open_store(f"sqlite:///{database}") as store:
        preferences = made(store, engines)
        await preferences.change_guild(GUILD, lambda now: replace(now, transcripts=True))
    later = made(store, engines)
    await later.learn(GUILD)
    assert later.knows(GUILD)
    assert not later.rules(GUILD).transcripts
    assert await later.persona(GUILD, ANNA) == DEFAULT
    async with open_store(f"sqlite:///{database}") as again:
        later.store = again
        await later.learn(GUILD)
    assert later.rules(GUILD).transcripts


async def test_a_start_with_thousands_of_guilds_reads_them_together(
    store: Store, preferences: StoredPreferences, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, some twice: a few transactions, and everybody's own settings. One by one, most would wait for longer than a read may."""
    guilds = range(1, 2 * MOST_AT_ONCE + 2)
    await store.guilds.change(guilds[-1], lambda now: replace(now, transcripts=True, denied_channels=frozenset({3})))
    reads = []

    async def read(database: Database, failure: str, work: Any) -> Any:
        reads.append(failure)
        return await unwatched(database, failure, work)

    unwatched = Database.read
    monkeypatch.setattr(Database, "read", read)
    await asyncio.gather(*map(preferences.learn, (*guilds, *guilds)))
    assert len(reads) <= 4
    assert all(map(preferences.knows, guilds))
    assert [guild for guild in guilds if preferences.guild(guild) != GuildSettings(guild)] == [guilds[-1]]
    assert preferences.guild(guilds[-1]).denied_channels == {3}


async def test_who_gives_up_learning_a_guild_costs_nobody_else_theirs(preferences: StoredPreferences) -> None:
    """The guilds that were to be read together are read by the next who waits."""
    first, second, *others = (asyncio.create_task(preferences.learn(guild)) for guild in (1, 2, 3, 4))
    await first
    await asyncio.sleep(0)
    await cancel_and_wait(second)
    await asyncio.gather(*others)
    assert preferences.knows(3)
    assert preferences.knows(4)


async def test_what_is_kept_at_hand_is_bounded(preferences: StoredPreferences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was asked for longest ago is read anew."""
    assert MOST_PEOPLE == 1000
    monkeypatch.setattr("discordplex.bot.settings.preferences.MOST_PEOPLE", 2)
    for user_id in (ANNA, BERT, 300):
        await preferences.person(user_id)
    await preferences.store.people.change(ANNA, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
    await preferences.store.people.change(300, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
    assert (await preferences.person(ANNA)).choice.voice == "NATM1.pt"
    assert (await preferences.person(300)).choice.voice is None


async def test_a_guild_that_threw_the_bot_out_is_forgotten(hasty: StoredPreferences, database: Path, clock: FakeClock) -> None:
    """Its settings are gone at once; from a database that is away, as soon as it is back."""
    await hasty.change_guild(GUILD, lambda now: replace(now, transcripts=True))
    with locked(database):
        assert not (await hasty.forget_guild(GUILD)).save_status.saved
        await hasty.learn(GUILD)
        assert not hasty.rules(GUILD).transcripts
    await saved(hasty, clock)
    assert await hasty.store.privacy.guilds() == frozenset()
    await hasty.learn(GUILD)
    assert not hasty.rules(GUILD).transcripts


async def test_forgetting_a_person_leaves_the_wish_not_to_be_heard(preferences: StoredPreferences) -> None:
    """Everything else is gone, from what is kept at hand as well."""
    await choose(preferences, ANNA, Choice(voice="NATM1.pt"))
    preferences.silence(ANNA)
    await preferences.silence(ANNA)
    deleted = await preferences.forget(ANNA)
    assert deleted.save_status == SaveStatus(saved=True)
    assert deleted.stored
    assert deleted.stored.settings.choice.voice == "NATM1.pt"
    assert await preferences.persona(GUILD, ANNA) == DEFAULT
    assert preferences.opted_out == {ANNA}
    assert (await preferences.store.people.opted_out()) == {ANNA}


async def test_what_another_process_changed_is_read_again(preferences: StoredPreferences) -> None:
    """A shard comes back to a process that had it before: the settings of its guilds and of their people are those of now."""
    await preferences.learn(GUILD)
    await preferences.person(ANNA)
    await preferences.store.guilds.change(GUILD, lambda now: replace(now, transcripts=True))
    await preferences.store.people.change(ANNA, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
    async with preferences:
        await settle()
        await preferences.store.people.opt_out(BERT)
        told = asyncio.Event()
        preferences.changed = told.set
        preferences.read_again(lambda guild_id: guild_id == GUILD)
        await preferences.learn(GUILD)
        assert preferences.rules(GUILD).transcripts
        assert (await preferences.person(ANNA)).choice.voice == "NATM1.pt"
        await asyncio.wait_for(told.wait(), 5)
        assert preferences.opted_out == {BERT}
