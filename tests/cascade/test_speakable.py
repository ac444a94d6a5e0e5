"""Thoughts and markdown are not spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.cascade.speakable import HiddenFilter, spoken


def visible(reply: str, cuts: list[int]) -> str:
    hidden, found, last = HiddenFilter(), "", 0
    for cut in [*sorted(cuts), len(reply)]:
        found += hidden.feed(reply[last:cut])
        last = max(last, cut)
    return found + hidden.finish()


@given(st.lists(st.integers(0, 80), max_size=12))
def test_thoughts_are_hidden_however_they_are_cut(cuts: list[int]) -> None:
    """A mark that arrives in pieces hides as well as a whole one, and a lone < is text."""
    reply = "a < b <think>no one <b> hears this</think>and <thin ice ```x = 1``` c `d`"
    assert visible(reply, cuts) == "a < b and <thin ice  c `d`"


def test_an_open_thought_stays_hidden() -> None:
    """A reply that ends while it thinks says nothing of it."""
    assert visible("Yes. <think>because", []) == "Yes. "


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Bold** and *it* and `code`", "Bold and it and code"),
        ("# Title\n- one\n- two", "Title one two"),
        ("See [the docs](https://example.com/a_b) now", "See the docs now"),
        ("snake_case stays, _this_ does not", "snake_case stays, this does not"),
        ("Great 🎉!", "Great !"),
        ("go to https://example.com/x ok", "go to ok"),
    ],
)
def test_markdown_is_not_spoken(written: str, said: str) -> None:
    """What is left is what a person would say."""
    assert spoken(written) == said
