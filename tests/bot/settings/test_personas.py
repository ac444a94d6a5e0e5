"""Saved personas: whose name counts, what is refused, files."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from discordplex.bot.settings.personas import MOST_CHOICES, PersonaCatalog, library, offers
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.config import Config
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.personaplex.endpoint import check_prompt, check_voice
from discordplex.store import personafile
from discordplex.store.records import Choice, Owner, SavedPersona
from discordplex.store.store import open_store
from tests.bot.fakes import CountedEngines

GUILD, ANNA, BERT = 1, 100, 200
MINE, OURS = Owner("person", ANNA), Owner("guild", GUILD)
PIRATE, POET = Persona("NATM1.pt", "You are a pirate."), Persona("VARF2.pt", "You are a poet.")


@pytest.fixture
def engines() -> CountedEngines:
    return CountedEngines()


@pytest.fixture
async def personas(engines: CountedEngines) -> AsyncIterator[PersonaCatalog]:
    async with open_store("sqlite://") as store:
        yield PersonaCatalog(StoredPreferences(config=Config(), provider=engines, store=store))


def test_the_library_is_what_the_engine_was_trained_on() -> None:
    """Voices that exist, prompts that fit, each in one of the three forms, no name twice."""
    assert len(library()) >= 10
    for one in library():
        assert check_voice(one.persona.voice) is None
        assert check_prompt(one.persona.text_prompt) is None
        prompt = one.persona.text_prompt
        service = (
            prompt.startswith("You work for ")
            and " which is a " in prompt
            and " and your name is " in prompt
            and " Information: " in prompt
        )
        assert service or prompt.startswith(("You are a wise and friendly teacher.", "You enjoy having a good conversation.")), one.name
    assert len({one.name.casefold() for one in library()}) == len(library())


async def test_ones_own_name_goes_before_the_servers_and_that_before_the_librarys(personas: PersonaCatalog) -> None:
    """In upper or lower case; another person does not see it."""
    assert (await personas.find(GUILD, ANNA, "astronaut")).owner not in (MINE, OURS)
    await personas.save(OURS, "Astronaut", POET)
    assert (await personas.find(GUILD, ANNA, "ASTRONAUT")).persona == POET
    await personas.save(MINE, "  astronaut ", PIRATE)
    assert (await personas.find(GUILD, ANNA, "Astronaut")).persona == PIRATE
    assert (await personas.find(GUILD, BERT, "Astronaut")).persona == POET
    await personas.delete(MINE, "ASTRONAUT")
    assert (await personas.find(GUILD, ANNA, "Astronaut")).persona == POET
    with pytest.raises(StoreError, match="no persona named “nobody”"):
        await personas.find(GUILD, ANNA, "nobody")
    with pytest.raises(StoreError, match="no persona named"):
        await personas.delete(MINE, "astronaut")


async def test_a_choice_takes_what_is_given_and_leaves_the_rest(personas: PersonaCatalog) -> None:
    """A saved persona whole, a voice or a role alone, or over a saved one."""
    await personas.save(MINE, "Pirate", PIRATE)
    before = Choice(voice="NATF3.pt")
    chosen = await personas.choice(GUILD, ANNA, name="pirate", before=before)
    assert chosen == Choice("NATM1.pt", "You are a pirate.", "Pirate")
    assert await personas.choice(GUILD, ANNA, voice="VARM0.pt", before=chosen) == Choice("VARM0.pt", "You are a pirate.")
    assert await personas.choice(GUILD, ANNA, role="You are a cook.", before=before) == Choice("NATF3.pt", "You are a cook.")
    assert await personas.choice(GUILD, ANNA, name="pirate", voice="VARM0.pt", before=before) == Choice(
        "VARM0.pt", "You are a pirate.", "Pirate"
    )


async def test_what_the_engine_would_refuse_is_not_kept(personas: PersonaCatalog, engines: CountedEngines) -> None:
    """Neither as a choice, nor saved, nor from a file; the engine's own reason is told."""
    file = personafile.write([SavedPersona(MINE, "Pirate", PIRATE)]).encode()
    engines.refuses = "PersonaPlex has no such voice."
    for attempt in (
        personas.choice(GUILD, ANNA, voice="X", before=Choice()),
        personas.save(MINE, "Pirate", PIRATE),
        personas.take_in(MINE, file),
    ):
        with pytest.raises(StoreError, match="PersonaPlex has no such voice"):
            await attempt
    engines.refuses = None
    assert await personas.matching(GUILD, ANNA, "", owner=MINE) == []


async def test_a_file_goes_round(personas: PersonaCatalog) -> None:
    """What one person exports another takes in; a file that is none is refused in words."""
    saved = [(await personas.save(MINE, "Pirate", PIRATE))[0], (await personas.save(MINE, "Poet", POET))[0]]
    taken, save_status = await personas.take_in(Owner("person", BERT), personafile.write(saved).encode())
    assert save_status.saved
    assert [(one.name, one.persona) for one in taken] == [("Pirate", PIRATE), ("Poet", POET)]
    assert (await personas.find(GUILD, BERT, "poet")).persona == POET
    with pytest.raises(StoreError, match="not JSON"):
        await personas.take_in(MINE, b"PK\x03\x04")


@pytest.mark.parametrize("name", ["", "   ", "x" * 101, "a\0b"])
async def test_a_name_must_be_one(personas: PersonaCatalog, name: str) -> None:
    """Something that can be shown, chosen and stored."""
    with pytest.raises(StoreError, match="name must have 1 to 100 characters"):
        await personas.save(MINE, name, PIRATE)


async def test_names_are_offered_while_somebody_types(personas: PersonaCatalog) -> None:
    """Those that begin with it first, then those that have it in them, no more than Discord shows."""
    await personas.save(MINE, "Old bank", PIRATE)
    assert await personas.matching(GUILD, ANNA, "BANK") == ["Bank", "Old bank"]
    assert await personas.matching(GUILD, ANNA, "b", owner=MINE) == ["Old bank"]
    assert len(offers((str(number) for number in range(100)), "")) == MOST_CHOICES


async def test_a_person_takes_in_one_file_at_a_time(personas: PersonaCatalog) -> None:
    """Others may meanwhile, and the person afterwards, whatever became of it."""
    with contextlib.suppress(KeyError), personas.one_import(ANNA):
        with pytest.raises(StoreError, match="One file at a time"), personas.one_import(ANNA):
            pass
        with personas.one_import(BERT):
            pass
        raise KeyError
    with personas.one_import(ANNA):
        pass


@pytest.mark.parametrize("spelling", ["Pirate", "PIRATE", " pirate ", "\uff30\uff29\uff32\uff21\uff34\uff25"])
async def test_what_is_found_under_a_spelling_is_deleted_under_it(personas: PersonaCatalog, spelling: str) -> None:
    """Wide letters included; a name is never taken for two."""
    await personas.save(MINE, "\uff30irate", PIRATE)
    assert (await personas.find(GUILD, ANNA, spelling)).persona == PIRATE
    assert await personas.matching(GUILD, ANNA, spelling, owner=MINE) == [one.name for one in await personas._preferences.personas(MINE)]
    await personas.save(MINE, spelling, POET)
    assert (await personas.find(GUILD, ANNA, "\uff30irate")).persona == POET
    await personas.delete(MINE, spelling)
    assert not await personas._preferences.personas(MINE)
