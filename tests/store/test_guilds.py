"""What the admins of a guild decided."""

from dataclasses import replace

import pytest

from discordplex.store.records import CaptionsSetting, Choice, GuildSettings
from discordplex.store.store import Store, open_store

GUILD = 2**62 + 7
FULL = GuildSettings(
    guild_id=GUILD,
    captions=CaptionsSetting("thread", 5),
    choice=Choice(voice="NATM1.pt", text_prompt="You are a pirate. 🏴‍☠️", name="Pirate"),
    transcripts=True,
    captions_of_people=False,
    notes=True,
    idle_minutes=0,
    max_minutes=30,
    allowed_channels=frozenset({1, 2}),
    denied_channels=frozenset({3}),
    allowed_roles=frozenset({1}),
    denied_roles=frozenset({2**62}),
)


async def test_a_guild_that_decided_nothing(store: Store) -> None:
    """Everything is as the configuration says."""
    assert await store.guilds.get(GUILD) == GuildSettings(GUILD)


async def test_settings_outlive_a_restart(url: str) -> None:
    """Every field comes back from a store that was closed and opened again."""
    async with open_store(url) as store:
        assert await store.guilds.change(GUILD, lambda _: FULL) == FULL
    async with open_store(url) as store:
        assert await store.guilds.get(GUILD) == FULL


async def test_a_change_touches_nothing_else(store: Store) -> None:
    """One field of one guild changes, the others and the other guilds stay."""
    await store.guilds.change(GUILD, lambda _: FULL)
    other = await store.guilds.change(8, lambda now: replace(now, max_minutes=1))
    assert await store.guilds.change(GUILD, lambda now: replace(now, captions=None)) == replace(FULL, captions=None)
    assert await store.guilds.get(GUILD) == replace(FULL, captions=None)
    assert await store.guilds.get(8) == other == GuildSettings(8, max_minutes=1)


async def test_rules_are_taken_back(store: Store) -> None:
    """A channel allowed, then denied, then without a rule leaves none behind."""
    await store.guilds.change(GUILD, lambda now: now.with_rule("channel", 5, allowed=True))
    await store.guilds.change(GUILD, lambda now: now.with_rule("channel", 5, allowed=False))
    assert (await store.guilds.get(GUILD)).denied_channels == {5}
    await store.guilds.change(GUILD, lambda now: now.with_rule("channel", 5, allowed=None))
    assert await store.guilds.get(GUILD) == GuildSettings(GUILD)


async def test_what_a_change_raises_passes_through(store: Store) -> None:
    """A change that thinks better of it saves nothing, and its caller gets the reason."""

    def refuse(_: GuildSettings) -> GuildSettings:
        raise LookupError("not like this")

    with pytest.raises(LookupError, match="not like this"):
        await store.guilds.change(GUILD, refuse)
    assert await store.guilds.get(GUILD) == GuildSettings(GUILD)
