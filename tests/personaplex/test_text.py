"""Pieces of text become readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.personaplex.text import TextJoiner


def folded(*pieces: str) -> str:
    folder = TextJoiner()
    return "".join(map(folder.feed, pieces)) + folder.flush()


def spelled(text: str) -> list[str]:
    """As a server sends characters that its vocabulary lacks: one piece for each byte."""
    return [f"<0x{byte:02X}>" for byte in text.encode()]


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        ([" Hel", "lo", " there", "."], " Hello there."),
        (["caf", "<0xC3>", "<0xA9>", " au"], "café au"),
        (["<0xF0>", "<0x9F>", "<0x98>", "<0x80>"], "😀"),
        (["<0x0A>"], "\n"),
        (["<s>", " Hi", "</s>"], " Hi"),
        (["<0xc3><0xa9>"], "é"),
        (["<0xC3>", " broken"], "\ufffd broken"),
        (["<0xC3>"], "\ufffd"),
        (["<0x80>", "a"], "\ufffda"),
        (["a <b> <0x4> <0xGG>"], "a <b> <0x4> <0xGG>"),
        (["", ""], ""),
    ],
)
def test_pieces_fold_to_text(pieces: list[str], text: str) -> None:
    """Words join as they are, bytes join to characters, marks vanish, and what merely looks like a mark stays."""
    assert folded(*pieces) == text


def test_a_character_appears_with_its_last_byte() -> None:
    """Nothing is shown of a character until it is whole, and then at once."""
    folder = TextJoiner()
    assert [folder.feed(piece) for piece in spelled("é")] == ["", "é"]


@given(st.lists(st.tuples(st.booleans(), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<")))))
def test_spelling_some_pieces_in_bytes_changes_nothing(pieces: list[tuple[bool, str]]) -> None:
    """Any text, any part of it spelled byte by byte, comes out as it was."""
    sent = [piece for in_bytes, text in pieces for piece in (spelled(text) if in_bytes else [text])]
    assert folded(*sent) == "".join(text for _, text in pieces)


@given(st.lists(st.text()))
def test_no_pieces_raise(pieces: list[str]) -> None:
    """Whatever comes, the folder answers with text."""
    assert isinstance(folded(*pieces), str)
