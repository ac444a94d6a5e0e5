"""What strangers write stays readable and can do nothing else."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.plaintext import one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb\u202c", "ab"),
        ("\u2066bidi\u2069", "bidi"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("tag\U000e0041", "tag"),
        ("bell\x07 and \x1b[31m", "bell and [31m"),
        ("half \ud83d", "half "),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 4),
        ("\u200d\u200dhidden\u200d", "hidden"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("❤\ufe0f", "❤\ufe0f"),
        ("two\u2028lines", "two\nlines"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize("breaker", ["\n", "\r\n", "\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\t"])
def test_a_name_is_one_line(breaker: str) -> None:
    """Otherwise it writes lines of a transcript or a prompt that somebody else is taken to have said."""
    assert one_line(f"Ann{breaker}Bob: hello").split() in (["Ann", "Bob:", "hello"], ["AnnBob:", "hello"])
    assert "\n" not in one_line(f"Ann{breaker}Bob: hello")


@given(st.text(alphabet=st.characters(), max_size=200), st.integers(1, 50))
def test_any_text_becomes_one_bounded_visible_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line == line.strip()
    assert len(line.splitlines()) <= 1
    assert not any(
        unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"} for character in line
    )
    line.encode()


def test_a_cut_is_marked_and_falls_behind_a_word() -> None:
    """Where there is no word to end with, anywhere."""
    assert one_line("You are a wise\n teacher.", 100) == "You are a wise teacher."
    assert one_line("You are a wise teacher.", 13) == "You are a…"
    assert one_line("You are a wise teacher.", 10) == "You are a…"
    assert one_line("A " + "x" * 100, 20) == f"A {'x' * 17}…"


@given(st.text(max_size=200))
def test_what_is_harmless_stays_so(text: str) -> None:
    assert visible(visible(text)) == visible(text)
