"""Text pieces become stretches that people can read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.bridge.captions import MOST_CHARACTERS, MOST_STRETCHES, MOST_WAITING, MOST_WAITING_CHARACTERS, OpenCaptions
from discordplex.bridge.events import Caption
from discordplex.engine import Text


def shown(captions: OpenCaptions, heard: int, now: float) -> list[tuple[int, str, bool]]:
    return [(caption.key, caption.text, caption.final) for caption in captions.advance(heard=heard, now=now)]


def test_pieces_join_without_separators() -> None:
    """Word fragments become words again, and the space before the first is gone."""
    captions = OpenCaptions()
    for piece in (" Hel", "lo", " there"):
        captions.add(Text(piece), position=0, now=0.0)
    assert shown(captions, heard=0, now=0.0) == [(1, "Hello there", False)]


def test_leading_space_goes_even_as_a_piece_of_its_own() -> None:
    """A piece that is only space shows nothing, and what follows begins without it."""
    captions = OpenCaptions()
    captions.add(Text("  "), position=0, now=0.0)
    assert shown(captions, heard=0, now=0.0) == []
    captions.add(Text(" so"), position=0, now=0.1)
    assert shown(captions, heard=0, now=0.1) == [(1, "so", False)]


def test_a_piece_waits_for_its_sound() -> None:
    """Text is shown when everything pushed before it has been played, not when it arrives."""
    captions = OpenCaptions()
    captions.add(Text("one"), position=960, now=0.0)
    captions.add(Text(" two"), position=1920, now=0.0)
    assert shown(captions, heard=959, now=0.1) == []
    assert shown(captions, heard=960, now=0.1) == [(1, "one", False)]
    assert shown(captions, heard=1919, now=0.2) == []
    assert shown(captions, heard=1920, now=0.3) == [(1, "one two", False)]


def test_a_pause_ends_a_stretch() -> None:
    """Two seconds without text make the stretch final, once, and the next piece begins another."""
    captions = OpenCaptions()
    captions.add(Text("Yes."), position=0, now=0.0)
    assert shown(captions, heard=0, now=0.0) == [(1, "Yes.", False)]
    assert shown(captions, heard=0, now=1.9) == []
    assert shown(captions, heard=0, now=2.0) == [(1, "Yes.", True)]
    captions.add(Text(" No."), position=0, now=2.1)
    assert shown(captions, heard=0, now=2.1) == [(2, "No.", False)]


def test_a_pause_counts_from_the_last_piece_that_was_heard() -> None:
    """Text that waits for its sound keeps its stretch open for as long as it waits."""
    captions = OpenCaptions()
    captions.add(Text("a"), position=0, now=0.0)
    captions.add(Text(" b"), position=480_000, now=0.0)
    assert shown(captions, heard=0, now=5.0) == [(1, "a", False)]
    captions.add(Text(" c"), position=480_001, now=9.0)
    assert shown(captions, heard=480_000, now=10.0) == [(1, "a b", False)]
    assert shown(captions, heard=480_001, now=10.1) == [(1, "a b c", False)]
    assert shown(captions, heard=480_001, now=12.0) == []
    assert shown(captions, heard=480_001, now=12.2) == [(1, "a b c", True)]


def test_a_new_reply_is_a_new_stretch() -> None:
    """Pieces of another item do not continue this one's text, though no pause lies between."""
    captions = OpenCaptions()
    captions.add(Text("one", item="a"), position=0, now=0.0)
    captions.add(Text("two", item="b"), position=0, now=0.0)
    assert shown(captions, heard=0, now=0.0) == [(1, "one", True), (2, "two", False)]


def test_the_engine_may_end_a_stretch() -> None:
    """A piece marked final ends its stretch without a pause; with or without text of its own."""
    captions = OpenCaptions()
    captions.add(Text("Done"), position=0, now=0.0)
    captions.add(Text("", final=True), position=0, now=0.0)
    assert shown(captions, heard=0, now=0.0) == [(1, "Done", True)]


def test_what_was_cut_is_never_shown() -> None:
    """At a barge-in the words that had not begun to sound vanish, and the stretch ends with those that had."""
    captions = OpenCaptions()
    captions.add(Text("I was"), position=0, now=0.0)
    captions.add(Text(" saying"), position=960, now=0.0)
    captions.cut(heard=500)
    assert shown(captions, heard=960, now=0.1) == [(1, "I was", True)]
    assert list(captions.close()) == []


def test_a_cut_of_one_reply_spares_the_others() -> None:
    """Only the named item loses its words, and no person does."""
    captions = OpenCaptions()
    captions.add(Text("gone", item="a"), position=960, now=0.0)
    captions.add(Text("stays", item="b"), position=960, now=0.0)
    captions.add(Text("me", role="person", speaker=7), position=960, now=0.0)
    captions.cut(heard=0, item="a")
    assert [text for _, text, _ in shown(captions, heard=960, now=0.0)] == ["stays", "me"]


def test_people_are_shown_at_once_and_apart() -> None:
    """What persons said needs no playing, names its speaker, and mixes neither with another person nor with the engine."""
    captions = OpenCaptions()
    captions.add(Text("engine"), position=960, now=0.0)
    captions.add(Text("first", role="person", speaker=1), position=960, now=0.0)
    captions.add(Text("second", role="person", speaker=2), position=960, now=0.0)
    captions.add(Text(" more", role="person", speaker=1, final=True), position=960, now=0.0)
    assert list(captions.advance(heard=0, now=0.0)) == [
        Caption(2, "first more", final=True, speaker=1, role="person"),
        Caption(3, "second", final=False, speaker=2, role="person"),
    ]


def test_a_stretch_began_when_its_first_words_were_said() -> None:
    """People's words come later than they were said, the engine's as they are heard; further ones do not change when that began."""
    captions = OpenCaptions()
    captions.add(Text("I said", role="person", speaker=1, began_at=3.0), position=0, now=9.0)
    captions.add(Text(" this", role="person", speaker=1, began_at=8.0), position=0, now=9.5)
    captions.add(Text("I see"), position=960, now=9.5)
    captions.add(Text(" it"), position=1920, now=9.5)
    assert [caption.began_at for caption in captions.advance(heard=0, now=9.5)] == [3.0]
    assert [caption.began_at for caption in captions.advance(heard=960, now=10.0)] == [10.0]
    assert [caption.began_at for caption in captions.advance(heard=1920, now=10.5)] == [10.0]


def test_the_end_of_the_call_loses_nothing() -> None:
    """Words whose sound was never played are shown at the end, and what was already shown becomes final."""
    captions = OpenCaptions()
    captions.add(Text("half"), position=0, now=0.0)
    captions.add(Text(" a sentence"), position=48_000, now=0.0)
    captions.add(Text("me", role="person", speaker=1), position=0, now=0.0)
    assert shown(captions, heard=0, now=0.0) == [(1, "half", False), (2, "me", False)]
    assert [(caption.key, caption.text, caption.final) for caption in captions.close()] == [(1, "half a sentence", True), (2, "me", True)]
    assert list(captions.close()) == []


def test_another_engine_begins_another_stretch() -> None:
    """Text after a lost engine does not continue the lost one's sentence."""
    captions = OpenCaptions()
    captions.add(Text("broken"), position=0, now=0.0)
    captions.end_stretch()
    captions.add(Text("whole"), position=0, now=0.1)
    assert shown(captions, heard=0, now=0.1) == [(1, "broken", True), (2, "whole", False)]


def test_what_waits_is_bounded() -> None:
    """An engine that floods text without sound makes the oldest pieces readable early, and none is lost."""
    captions = OpenCaptions()
    for _ in range(MOST_WAITING + 10):
        captions.add(Text("x"), position=1, now=0.0)
    assert shown(captions, heard=0, now=0.0) == [(1, "x" * 10, False)]
    assert sum(len(caption.text) for caption in captions.close()) == MOST_WAITING + 10


@given(
    pieces=st.lists(st.tuples(st.text("ab ", max_size=3), st.floats(0, 3), st.integers(0, 2000)), max_size=40),
    looks=st.integers(1, 5),
)
def test_every_piece_is_read_once_and_in_order(pieces: list[tuple[str, float, int]], looks: int) -> None:
    """Whatever the timing: the final captions, joined, are the pieces, each key has one final caption, and texts only grow."""
    captions = OpenCaptions()
    told: list[Caption] = []
    now, position = 0.0, 0
    for count, (piece, pause_s, samples) in enumerate(pieces):
        now += pause_s
        captions.add(Text(piece), position=position, now=now)
        position += samples
        if count % looks == 0:
            told += captions.advance(heard=position // 2, now=now)
    told += captions.close()
    finals = [caption for caption in told if caption.final]
    assert "".join(caption.text for caption in finals).replace(" ", "") == "".join(piece for piece, _, _ in pieces).replace(" ", "")
    assert len({caption.key for caption in finals}) == len(finals)
    for caption in told:
        final = next(other for other in finals if other.key == caption.key)
        assert final.text.startswith(caption.text)
        assert caption.text == caption.text.lstrip() != ""


@given(st.lists(st.text(st.sampled_from("ab "), min_size=1, max_size=40), min_size=1, max_size=400))
def test_a_stretch_without_an_end_becomes_several(pieces: list[str]) -> None:
    """None is longer than a message; joined they are what was said, and words are whole where they are shorter than a stretch."""
    captions = OpenCaptions()
    for piece in pieces:
        captions.add(Text(piece), position=0, now=0.0)
        assert all(len(caption.text) <= MOST_CHARACTERS for caption in captions.advance(heard=0, now=0.0))
    ends = {caption.key: caption.text for caption in [*captions.advance(heard=0, now=0.0), *captions.close()]}
    assert all(len(text) <= MOST_CHARACTERS for text in ends.values())


def spoken(text: Text) -> dict[int, str]:
    """Every stretch in the end."""
    captions = OpenCaptions()
    captions.add(text, position=0, now=0.0)
    found = {caption.key: caption.text for caption in captions.advance(heard=0, now=0.0)}
    return found | {caption.key: caption.text for caption in captions.close()}


def test_one_long_piece_is_cut_between_words() -> None:
    """Nothing of it is lost; what has no spaces is cut anyway."""
    words = " ".join(f"word{number}" for number in range(2000))
    assert " ".join(spoken(Text(words)).values()) == words
    assert "".join(spoken(Text("x" * 10_000)).values()) == "x" * 10_000
    assert len(spoken(Text("x" * 10_000))) == 9


def test_stretches_and_their_text_are_bounded() -> None:
    """An engine that invents speakers, replies and words gets them shown early, and they are not kept."""
    captions = OpenCaptions()
    seen: set[int] = set()
    for number in range(2000):
        captions.add(Text("word " * 20, role="person", speaker=number), position=0, now=0.0)
        captions.add(Text("word " * 20, item=str(number)), position=10**9, now=0.0)
        seen |= {caption.key for caption in captions.advance(heard=0, now=0.0)}
    left = [caption for caption in captions.close() if caption.key not in seen]
    assert len(left) <= MOST_STRETCHES + 2
    assert sum(len(caption.text) for caption in left) <= MOST_WAITING_CHARACTERS
    assert len(seen) + len(left) == 4000, "nothing is thrown away unread"


HARMFUL = [
    ("good\nbob: bad", "good bob: bad"),
    ("\u202egnp.exe", "gnp.exe"),
    ("zero\u200bwidth", "zerowidth"),
    ("a\r\n\r\n\r\nb", "a b"),
    ("tag\U000e0041\U000e0042", "tag"),
    ("می‌خواهم", "می‌خواهم"),
    ("👩‍👩‍👧", "👩‍👩‍👧"),
]


@pytest.mark.parametrize(("text", "expected"), HARMFUL)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_text_that_deceives_is_made_harmless(text: str, expected: str, size: int) -> None:
    """However it is cut into pieces: no line of its own, nothing hidden, nothing turned round; what scripts and emoji need stays."""
    captions = OpenCaptions()
    for start in range(0, len(text), size):
        captions.add(Text(text[start : start + size]), position=0, now=0.0)
    assert [caption.text for caption in captions.close()] == [expected]


def test_text_that_cannot_be_seen_is_no_caption() -> None:
    """A caption is never empty."""
    captions = OpenCaptions()
    captions.add(Text("\u200b\u2060"), position=0, now=0.0)
    assert list(captions.advance(heard=0, now=0.0)) == []
    assert list(captions.close()) == []
