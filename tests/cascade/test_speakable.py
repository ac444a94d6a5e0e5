"""Markdown, addresses and pictures are not spoken; what is calculated is."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.cascade.speakable import spoken


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("**Bold** and *it* and `code`", "Bold and it and code"),
        ("***both*** and **a** or *b*.", "both and a or b."),
        ("**cut apart", "cut apart"),
        ("un*frigging*believable", "unfriggingbelievable"),
        ("这是**重点**内容", "这是重点内容"),
        ("**2**nd and *5* apples", "2nd and 5 apples"),
        ("~~no~~ yes", "no yes"),
        ("# Title\n- one\n- two\n* three\n> four", "Title one two three four"),
        ("See [the docs](https://example.com/a_b) now", "See the docs now"),
        ("See [this](https://example.com/a_(b)) now", "See this now"),
        ("snake_case stays, _this_ does not", "snake_case stays, this does not"),
        ("go to https://example.com/x ok", "go to ok"),
    ],
)
def test_markdown_is_not_spoken(written: str, said: str) -> None:
    """What is left is what a person would say."""
    assert spoken(written) == said


@pytest.mark.parametrize(
    "written",
    [
        "5 * 3 = 15",
        "2**10",
        "2 ** 10",
        "4*4*4",
        "a*b",
        "a*b*c",
        "x**2",
        "2*pi",
        "2*pi*r",
        "3*-2",
        "π*θ",
        "(a+b)*c",
        "f(x)*g(x)",
        "3*(4+5)",
        "10*10=100",
    ],
)
def test_a_star_that_multiplies_is_kept(written: str) -> None:
    """Between numbers, variables and brackets it is no markup, also in the middle of a sentence."""
    assert spoken(written) == written
    assert spoken(f"So **clearly** {written}, *right*?") == f"So clearly {written}, right?"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Great 🎉!", "Great !"),
        ("⭐ ★ ⏰ ⏳ ⌛ ➡️ ↔ ⬆ ▶️ hi", "hi"),
        ("1️⃣ and #️⃣", "1 and #"),
        ("🇩🇪 🇺🇸 hi", "hi"),
        ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f hi", "hi"),
        ("👩‍👩‍👧🏽 👋🏿 hi", "hi"),
        ("❤\ufe0f\u200d🔥 hi", "hi"),
        ("© ® ™ ‼ \u2139 hi", "hi"),
        ("क्‍ष می‌خواهم", "क्‍ष می‌خواهم"),
        ("20 °C, 5 €, ½ \u00d7 3 ÷ 2 ± 1 ≤ 4 → x", "20 °C, 5 €, ½ \u00d7 3 ÷ 2 ± 1 ≤ 4 → x"),
    ],
)
def test_pictures_are_not_spoken(written: str, said: str) -> None:
    """Of every kind, with their joiners, tones and tags; letters, signs and the joiners between letters are."""
    assert spoken(written) == said


def test_every_picture_of_the_standard_is_known() -> None:
    """Every character that Python's Unicode data names like one in the blocks of pictures."""
    for code in [*range(0x1F000, 0x1FB00), *range(0x2600, 0x27C0), 0x20E3, *range(0xE0020, 0xE0080), *range(0x1F1E6, 0x1F200)]:
        assert spoken(f"a{chr(code)}b") == "ab", unicodedata.name(chr(code), hex(code))


@given(st.text(alphabet="*_~`[]() \n#->aé5😀\u200d", max_size=200))
def test_every_letter_and_number_is_spoken_once(text: str) -> None:
    """Whatever the markup, no word is lost: only addresses are left out."""
    plain = re.sub(r"\([^()]*\)", "", text)
    said = spoken(text)
    assert [character for character in said if character.isalnum()] in (
        [character for character in text if character.isalnum()],
        [character for character in plain if character.isalnum()],
    ) or "](" in text
