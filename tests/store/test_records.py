"""Facts that go in and come out."""

from dataclasses import replace

import pytest

from discordplex.engine import Persona
from discordplex.store.records import CaptionsSetting, Choice, GuildSettings

CONFIGURED = Persona(voice="NATF0.pt", text_prompt="You are a teacher.")


def test_a_choice_stands_before_the_next_in_line() -> None:
    """A person's choice covers the guild's, and the guild's the configuration's, each part by itself."""
    guild = Choice(voice="NATM1.pt", text_prompt="You are a pirate.")
    person = Choice(voice="VARF2.pt")
    assert Choice().over(CONFIGURED) == CONFIGURED
    assert person.over(guild.over(CONFIGURED)) == Persona(voice="VARF2.pt", text_prompt="You are a pirate.")


def test_an_empty_prompt_is_a_choice() -> None:
    """Nothing at all is left to the next in line; an empty text is not."""
    assert Choice(text_prompt="").over(CONFIGURED) == Persona(voice="NATF0.pt", text_prompt="")


def test_a_rule_replaces_its_opposite() -> None:
    """What was allowed and is denied now is not allowed any more, and the same number of the other kind is something else."""
    settings = GuildSettings(1, allowed_channels=frozenset({5, 6}), allowed_roles=frozenset({5, 6}))
    channel = settings.with_rule("channel", 5, allowed=False)
    role = settings.with_rule("role", 5, allowed=False)
    assert channel == replace(settings, allowed_channels=frozenset({6}), denied_channels=frozenset({5}))
    assert role == replace(settings, allowed_roles=frozenset({6}), denied_roles=frozenset({5}))
    assert role.with_rule("role", 5, allowed=True) == settings
    assert role.with_rule("role", 5, allowed=None) == replace(settings, allowed_roles=frozenset({6}))


def test_contradictions_cannot_be_made() -> None:
    """A channel both allowed and denied, a thread without its channel, a channel for captions that are off."""
    with pytest.raises(ValueError, match="both allowed and denied"):
        GuildSettings(1, allowed_channels=frozenset({5}), denied_channels=frozenset({5}))
    with pytest.raises(ValueError, match="captions in 'thread'"):
        CaptionsSetting("thread")
    with pytest.raises(ValueError, match="captions in 'off'"):
        CaptionsSetting("off", 5)
