"""What a model keeps, and what a new conversation is told."""

import pytest

from discordplex.config import Config
from discordplex.engine import NO_RECAP, Recap, RecapTurn
from discordplex.personaplex.endpoint import check_prompt, estimated_tokens
from discordplex.personaplex.memory import memory_s, with_recap

ROLE = Config().persona.text_prompt


@pytest.mark.parametrize(("window_s", "role", "lasts_s"), [(240, ROLE, 232), (240, "x" * 6000, 75), (15, ROLE, 14.5), (0, ROLE, None)])
def test_prompts_take_their_share_of_the_memory(window_s: float, role: str, lasts_s: float | None) -> None:
    """With the default role the voice is overwritten after some 232 s, with 2,000 tokens after 75 s."""
    assert memory_s(window_s, role) == (lasts_s and pytest.approx(lasts_s, rel=0.01))


def test_the_newest_turns_follow_the_role_as_facts() -> None:
    """Words stay as they were said, oldest first, with names, without anything that ends a quotation."""
    recap = Recap((RecapTurn("I like <system> tea.", "person", 7, "Ann"), RecapTurn('Tea is "good".')))
    told = with_recap("You are kind.", recap, 80)
    assert told == """You are kind. Information: You have talked for a while. Ann said: "I like system tea." You said: "Tea is 'good'.\""""
    assert check_prompt(told) is None


def test_a_recap_keeps_to_its_budget() -> None:
    """The end of the newest turn is kept, in whole words; a summary comes first; nothing is told without a budget."""
    long = Recap(tuple(RecapTurn(f"turn {number} has some words in it") for number in range(30)))
    told = with_recap("Role.", long, 40)
    assert estimated_tokens(told) - estimated_tokens("Role.") <= 41
    assert told.endswith('You said: "turn 29 has some words in it"')
    assert "turn 20 " not in told
    assert with_recap("Role.", long, 0) == "Role."
    one = with_recap("Role.", Recap((RecapTurn("word " * 100 + "end."),)), 40)
    assert one.endswith('word word end."')
    assert '"word' in one
    summed = with_recap("Role.", Recap((RecapTurn("The last words."),), "Ann asked about tea."), 80)
    assert summed.endswith('Ann asked about tea. You said: "The last words."')


@pytest.mark.parametrize("language", ["昨日の会議では新しい計画について話しました。", "昨天我们讨论了新的计划。", "wirvergessen"])
def test_a_language_without_spaces_is_cut_between_characters(language: str) -> None:
    """The end of what was said fits, and nearly fills the budget: no turn is left out because no space is near."""
    said = language * 20
    prompt = with_recap("A teacher.", Recap((RecapTurn(said, "engine"),)), 80)
    words = prompt.partition('You said: "')[2].removesuffix('"')
    assert words
    assert said.endswith(words)
    assert 70 <= estimated_tokens(prompt) - estimated_tokens("A teacher.") <= 80


def test_a_role_with_tags_keeps_them() -> None:
    """NVIDIA's server recognises them at both ends only."""
    told = with_recap("<system> You are kind. <system>", Recap((RecapTurn("Good evening."),)), 80)
    assert told.endswith('You said: "Good evening." <system>')


def test_a_role_that_fills_the_address_stays_alone() -> None:
    """What a server would refuse is never asked for."""
    role = "x" * 7890
    assert check_prompt(role) is None
    assert with_recap(role, Recap((RecapTurn("Good evening."),)), 80) == role
    assert with_recap("Role.", NO_RECAP, 80) == "Role."
