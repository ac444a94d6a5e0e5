"""What is in force: a person's choice over a guild's over the configuration's, from a real store."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from discordplex.bot.preferences import MOST_PEOPLE, StoredPreferences
from discordplex.bot.rules import CaptionsPlace
from discordplex.config import BotConfig, Config, PersonaConfig
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store.records import Captions, Choice, GuildSettings
from discordplex.store.store import Store, open_store
from tests.bot.fakes import CountedEngines

GUILD, ANNA, BERT = 1, 100, 200
DEFAULT = Persona(voice="NATF0.pt", text_prompt="You are a test.")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "settings.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{database}", busy_s=0.05) as opened:
        yield opened


@pytest.fixture
def engines() -> CountedEngines:
    return CountedEngines()


@pytest.fixture
def preferences(store: Store, engines: CountedEngines) -> StoredPreferences:
    return made(store, engines)


def made(store: Store, engines: CountedEngines, **bot: object) -> StoredPreferences:
    persona = PersonaConfig(voice=DEFAULT.voice, text_prompt=DEFAULT.text_prompt)
    return StoredPreferences(config=Config(bot=BotConfig.model_validate(bot), persona=persona), provider=engines, store=store)


@contextlib.contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody else holds the database."""
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


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
        now = replace(now, captions=Captions("thread", 5), max_minutes=30, transcripts=True).with_rule("channel", 7, allowed=True)
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
    await before.keep_silenced(ANNA)
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
    await preferences.keep_silenced(ANNA)
    assert (await preferences.person(ANNA)).opted_out
    await preferences.listen(ANNA)
    assert told == [{ANNA}, frozenset()]
    assert not (await preferences.person(ANNA)).opted_out


async def test_a_locked_database_costs_no_call(preferences: StoredPreferences, database: Path) -> None:
    """Reading gives what is known; changing raises a sentence and changes nothing, but a wish not to be heard holds."""
    await choose(preferences, ANNA, Choice(voice="NATM1.pt"))
    with locked(database):
        await preferences.learn(GUILD)
        assert preferences.knows(GUILD)
        assert (await preferences.persona(GUILD, ANNA)).voice == "NATM1.pt"
        with pytest.raises(StoreError, match="not saved"):
            await preferences.change_guild(GUILD, lambda now: replace(now, transcripts=True))
        with pytest.raises(StoreError, match="not saved"):
            await choose(preferences, ANNA, Choice())
        preferences.silence(BERT)
        with pytest.raises(StoreError, match="not saved"):
            await preferences.keep_silenced(BERT)
        with pytest.raises(StoreError, match="not saved"):
            await preferences.listen(BERT)
    assert not preferences.rules(GUILD).transcripts
    assert (await preferences.persona(GUILD, ANNA)).voice == "NATM1.pt"
    assert preferences.opted_out == {BERT}


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


async def test_what_is_kept_at_hand_is_bounded(preferences: StoredPreferences, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was asked for longest ago is read anew."""
    assert MOST_PEOPLE == 1000
    monkeypatch.setattr("discordplex.bot.preferences.MOST_PEOPLE", 2)
    for user_id in (ANNA, BERT, 300):
        await preferences.person(user_id)
    await preferences.store.people.change(ANNA, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
    await preferences.store.people.change(300, lambda now: replace(now, choice=Choice(voice="NATM1.pt")))
    assert (await preferences.person(ANNA)).choice.voice == "NATM1.pt"
    assert (await preferences.person(300)).choice.voice is None


async def test_a_guild_that_threw_the_bot_out_is_forgotten(preferences: StoredPreferences, database: Path) -> None:
    """Its settings are gone; a database that fails raises nothing."""
    await preferences.change_guild(GUILD, lambda now: replace(now, transcripts=True))
    with locked(database):
        await preferences.forget_guild(GUILD)
    await preferences.forget_guild(GUILD)
    await preferences.learn(GUILD)
    assert not preferences.rules(GUILD).transcripts


async def test_forgetting_a_person_leaves_the_wish_not_to_be_heard(preferences: StoredPreferences) -> None:
    """Everything else is gone, from what is kept at hand as well."""
    await choose(preferences, ANNA, Choice(voice="NATM1.pt"))
    preferences.silence(ANNA)
    await preferences.keep_silenced(ANNA)
    stored = await preferences.forget(ANNA)
    assert stored.settings.choice.voice == "NATM1.pt"
    assert await preferences.persona(GUILD, ANNA) == DEFAULT
    assert preferences.opted_out == {ANNA}
    assert (await preferences.store.people.opted_out()) == {ANNA}
