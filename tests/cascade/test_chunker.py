"""A reply is cut into pieces that can be spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.cascade.chunker import FIRST_CHUNK_CHARACTERS, LONGEST_CHUNK_CHARACTERS, Chunker


def chunks_of(text: str, size: int = 1) -> list[str]:
    chunker = Chunker()
    found = [chunk for start in range(0, len(text), size) for chunk in chunker.feed(text[start : start + size])]
    return [*found, *chunker.finish()]


@pytest.mark.parametrize(
    ("reply", "chunks"),
    [
        ("Hello there! How are you? Fine.", ["Hello there!", "How are you?", "Fine."]),
        ("Well, it depends. Yes.", ["Well, it depends.", "Yes."]),
        ("I would say, it depends.", ["I would say,", "it depends."]),
        ("Right away. Dr. Who pays 3.50 e.g. for tea. Ok.", ["Right away.", "Dr. Who pays 3.50 e.g. for tea.", "Ok."]),
        ("Sure. Do this: 1. Wash it. 2. Dry it.", ["Sure.", "Do this: 1. Wash it.", "2. Dry it."]),
        ("Wait... what?! Really.", ["Wait...", "what?!", "Really."]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("One line\nand another\n", ["One line", "and another"]),
        ("好的。我们走吧！", ["好的。", "我们走吧！"]),
        ("The quick brown fox jumps over it.", ["The quick brown", "fox jumps over it."]),
        ("Well, let me tell you a long story.", ["Well, let me tell", "you a long story."]),
        ("", []),
        (" - ", []),
    ],
)
def test_pieces_end_where_a_speaker_would_pause(reply: str, chunks: list[str]) -> None:
    """The first piece comes early, the others are sentences."""
    assert chunks_of(reply) == chunks


@given(st.text(alphabet="abc ,.!?\n1é。", max_size=600), st.integers(1, 40))
def test_every_letter_is_spoken_once_and_no_piece_is_too_long(reply: str, size: int) -> None:
    """However a reply arrives, its letters come out in order, and each piece within its bound."""
    chunks = chunks_of(reply, size)
    letters = [character for character in reply if character.isalnum()]
    assert [character for chunk in chunks for character in chunk if character.isalnum()] == letters
    assert all(len(chunk) <= LONGEST_CHUNK_CHARACTERS for chunk in chunks)
    assert not chunks or len(chunks[0]) <= FIRST_CHUNK_CHARACTERS


def test_the_first_piece_does_not_wait_for_the_sentence() -> None:
    """A word boundary is enough once three quarters of the bound are there; a word that may not be whole waits."""
    chunker = Chunker()
    assert list(chunker.feed("This sentence goes on and")) == ["This sentence goes on"]
    chunker = Chunker()
    assert list(chunker.feed("This sentence goes")) == []
    assert list(chunker.feed(" on")) == ["This sentence goes"]
    assert list(Chunker().feed("Donaudampfschifffahrts")) == []
