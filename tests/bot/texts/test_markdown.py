"""Text made fit for a Discord message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.bot.texts.markdown import MOST_MESSAGES, NOTHING, PIECE_LIMIT, harmless, messages, split

TEXTS = st.text(st.sampled_from("ab c.!?\n*_\\|<>[]#-1 "), max_size=400)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("Hello, it's 5 - 3 = 2 (really).", "Hello, it's 5 - 3 = 2 (really)."),
        ("*bold* _it_ ~~no~~ `code` ||hidden||", r"\*bold\* \_it\_ \~\~no\~\~ \`code\` \|\|hidden\|\|"),
        ("<@123> <#4> <:x:5>", r"\<@123> \<#4> \<:x:5>"),
        ("[click](https://x.example)", r"\[click](https://x.example)"),
        ("# big\n> quoted\n- one\n1. two\n-# small", "\\# big\n\\> quoted\n\\- one\n1\\. two\n\\-# small"),
        ("-5 degrees, #1 of 2. and >9000", "-5 degrees, #1 of 2. and >9000"),
        ("a\\b", "a\\\\b"),
    ],
)
def test_what_is_said_is_shown_as_it_is(said: str, written: str) -> None:
    """Markup is escaped where it would mean something, and nowhere else."""
    assert harmless(said) == written


@given(TEXTS, st.integers(10, 60))
def test_split_loses_nothing_but_space_at_the_cuts(text: str, limit: int) -> None:
    """Every piece fits, none is empty, and together they are the text; no escape is torn apart."""
    escaped = harmless(text)
    pieces = list(split(escaped, limit))
    assert all(0 < len(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(escaped.split())
    for piece in pieces:
        assert (len(piece) - len(piece.rstrip("\\"))) % 2 == 0


@given(TEXTS, TEXTS, st.integers(10, 60))
def test_a_growing_text_keeps_its_cuts(text: str, more: str, limit: int) -> None:
    """What stood in all pieces but the last stays there when the text goes on."""
    before, after = list(split(text, limit)), list(split(text + more, limit))
    assert after[: max(0, len(before) - 1)] == before[:-1]


def test_split_cuts_at_sentences_then_at_words() -> None:
    """A sentence's end is preferred to a word's, a word's to the middle of one."""
    assert list(split("One two three. Four five six.", 20)) == ["One two three.", "Four five six."]
    assert list(split("one two three four five", 12)) == ["one two", "three four", "five"]
    assert list(split("x" * 25, 10)) == ["x" * 10, "x" * 10, "x" * 5]
    assert list(split(harmless("*" * 6), 5)) == [r"\*\*", r"\*\*", r"\*\*"]


def test_an_answer_of_any_length_fits() -> None:
    """A long one becomes several messages, a huge one a few and an ellipsis, an empty one a sign: Discord refuses more, and less."""
    assert messages("Short.") == ["Short."]
    parts = messages("A sentence that says something. " * 200)
    assert len(parts) == 4
    assert all(0 < len(part) <= PIECE_LIMIT for part in parts)
    huge = messages("word " * 10_000)
    assert (len(huge), huge[-1][-1]) == (MOST_MESSAGES, "…")
    assert all(0 < len(part) <= PIECE_LIMIT for part in huge)
    assert messages(" \n") == [NOTHING]
