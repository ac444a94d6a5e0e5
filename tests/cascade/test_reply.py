"""What people heard of a reply is what the chat model is told it said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.audio.format import ENGINE
from discordplex.cascade.reply import BROKEN_OFF, Reply, beginning


def reply_of(*pieces: tuple[str, float]) -> Reply:
    reply = Reply("reply-1", asker=1)
    for text, milliseconds in pieces:
        reply.begin(text)
        reply.add(bytes(ENGINE.bytes_of_ms(milliseconds)))
    return reply


THREE = (("Hello there.", 1000.0), ("How are you today?", 2000.0), ("Bye.", 500.0))


def test_a_whole_reply_is_remembered_whole() -> None:
    """Nothing was cut: all of it was heard."""
    assert reply_of(*THREE).heard() == "Hello there. How are you today? Bye."


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0, ""),
        (100, ""),
        (500, f"Hello{BROKEN_OFF}"),
        (1000, f"Hello there.{BROKEN_OFF}"),
        (2000, f"Hello there. How are{BROKEN_OFF}"),
        (3400, f"Hello there. How are you today?{BROKEN_OFF}"),
        (3500, "Hello there. How are you today? Bye."),
        (9999, "Hello there. How are you today? Bye."),
    ],
)
def test_a_cut_reply_is_remembered_up_to_the_word(heard_ms: float, text: str) -> None:
    """What was not heard was not said, and the model can tell that it was cut off."""
    reply = reply_of(*THREE)
    reply.heard_ms, reply.whole = heard_ms, True
    assert reply.heard() == text


def test_a_reply_that_was_never_finished_is_broken_off() -> None:
    """Cut while it was being made, it was broken off even where all of its sound was heard."""
    reply = reply_of(*THREE[:2])
    reply.heard_ms = 9999
    assert reply.heard() == f"Hello there. How are you today?{BROKEN_OFF}"


def test_pieces_join_as_they_are_written() -> None:
    """With a space where the script has spaces, without one where it has none."""
    latin, chinese = Reply("a", 1), Reply("b", 1)
    assert [latin.begin("Hello."), latin.begin("Bye.")] == ["Hello.", " Bye."]
    assert [chinese.begin("你好。"), chinese.begin("再见。")] == ["你好。", "再见。"]
    chinese.pieces[0].sound_ms = chinese.pieces[1].sound_ms = 100
    assert chinese.heard() == "你好。再见。"
    chinese.heard_ms = 150
    assert chinese.heard() == f"你好。再{BROKEN_OFF}"


@given(st.text(max_size=60), st.floats(0, 1))
def test_a_beginning_is_one(text: str, share: float) -> None:
    """Whatever the text and the share, it is a beginning and no longer than its share."""
    begun = beginning(text, share)
    assert text.startswith(begun)
    assert len(begun) <= max(1, len(text) * share)
