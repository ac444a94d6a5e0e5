"""What persons decided: whom they talk with, and whether they are heard."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from discordplex.store.records import Choice, PersonSettings
from discordplex.store.store import Store, open_store

PERSON = 2**62 + 1


async def test_a_person_who_decided_nothing(store: Store) -> None:
    """They are heard, and have no persona of their own."""
    assert await store.people.get(PERSON) == PersonSettings(PERSON)
    assert await store.people.opted_out() == frozenset()


async def test_an_opt_out_is_known_from_the_start(url: str) -> None:
    """Who opted out is listed by the next store that opens, those who came back are not."""
    async with open_store(url) as store:
        await store.people.opt_out(PERSON)
        await store.people.opt_out(2)
        await store.people.opt_in(2)
    async with open_store(url) as store:
        assert await store.people.opted_out() == {PERSON}
        assert (await store.people.get(PERSON)).opted_out


async def test_a_choice_and_an_opt_out_keep_apart(store: Store) -> None:
    """Choosing a persona does not make anybody heard, and opting out does not cost the persona."""
    chosen = Choice(voice="NATF2.pt", text_prompt="You enjoy having a good conversation.")
    await store.people.opt_out(PERSON)
    await store.people.change(PERSON, lambda now: replace(now, choice=chosen))
    assert await store.people.get(PERSON) == PersonSettings(PERSON, opted_out=True, choice=chosen)
    await store.people.opt_in(PERSON)
    assert await store.people.get(PERSON) == PersonSettings(PERSON, choice=chosen)


async def test_nothing_is_kept_of_who_has_no_settings(store: Store, sql: Callable[[], Any]) -> None:
    """Taking back the last setting leaves no row, not even that the person was here."""
    await store.people.opt_out(PERSON)
    await store.people.opt_in(PERSON)
    async with sql() as other:
        assert await other("SELECT * FROM people") == []
