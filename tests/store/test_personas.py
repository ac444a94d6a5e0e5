"""The libraries of guilds and people."""

import pytest

from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.store.personas import PER_OWNER, key
from discordplex.store.records import Owner, SavedPersona
from discordplex.store.store import Store

GUILD = Owner("guild", 7)
PERSON = Owner("person", 7)
PIRATE = Persona(voice="NATM1.pt", text_prompt="You are a pirate.")
COOK = Persona(voice="NATF1.pt", text_prompt="You are a cook.")


async def test_owners_have_libraries_of_their_own(store: Store) -> None:
    """A guild and a person with the same id, and the same name in both, are kept apart."""
    await store.personas.save(SavedPersona(GUILD, "Captain", PIRATE))
    await store.personas.save(SavedPersona(PERSON, "Captain", COOK))
    assert await store.personas.get(GUILD, "Captain") == SavedPersona(GUILD, "Captain", PIRATE)
    assert await store.personas.get(PERSON, "Captain") == SavedPersona(PERSON, "Captain", COOK)
    assert await store.personas.get(Owner("guild", 8), "Captain") is None


async def test_a_name_is_the_same_in_any_case(store: Store) -> None:
    """Saving under a name that differs in case alone replaces; it is found and deleted in any case."""
    await store.personas.save(SavedPersona(GUILD, "Straße", PIRATE))
    await store.personas.save(SavedPersona(GUILD, "STRASSE ", COOK))
    assert await store.personas.list(GUILD) == (SavedPersona(GUILD, "STRASSE ", COOK),)
    assert await store.personas.get(GUILD, "straße") is not None
    assert await store.personas.delete(GUILD, "strasse") is True
    assert await store.personas.delete(GUILD, "strasse") is False
    assert await store.personas.list(GUILD) == ()


async def test_a_library_is_listed_by_name(store: Store) -> None:
    """In an order that no database's locale changes."""
    await store.personas.save(*(SavedPersona(GUILD, name, COOK) for name in ("b", "C", "ä", "a")))
    assert [one.name for one in await store.personas.list(GUILD)] == ["a", "b", "C", "ä"]


async def test_several_are_saved_together_or_not_at_all(store: Store) -> None:
    """A library has its limit, and a file that breaks it leaves the library as it was."""
    await store.personas.save(*(SavedPersona(PERSON, f"number {n}", COOK) for n in range(PER_OWNER - 1)))
    with pytest.raises(StoreError, match="100 are kept at most"):
        await store.personas.save(SavedPersona(PERSON, "one", PIRATE), SavedPersona(PERSON, "two", PIRATE))
    assert len(await store.personas.list(PERSON)) == PER_OWNER - 1
    await store.personas.save(SavedPersona(PERSON, "one", PIRATE))
    await store.personas.save(SavedPersona(PERSON, "ONE", COOK))
    assert len(await store.personas.list(PERSON)) == PER_OWNER


def test_spellings() -> None:
    """Case, width and outer blanks do not tell names apart."""
    assert key(" \uff30irate ") == key("PIRATE") != key("pi rate")
