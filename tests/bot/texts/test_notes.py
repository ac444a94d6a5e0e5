"""Notes are one message, in which nothing that people or a model say does anything."""

from datetime import datetime, timedelta, timezone

from discordplex.bot.texts.markdown import PIECE_LIMIT
from discordplex.bot.texts.notes import MOST_NAMED, CallNotes, notes

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)


def test_everything_has_its_place() -> None:
    """Who, how long, what was said and when, in each reader's own time."""
    at = int(NOON.timestamp())
    text = notes(
        CallNotes(
            channel_id=5,
            began_at=NOON,
            seconds=600,
            people=[("Anna", 600), ("Ben", 45)],
            unnamed=1,
            summary="They meet.",
            decisions=[(NOON + timedelta(minutes=3), "They meet on Friday.")],
            questions=[(NOON + timedelta(minutes=4), "Who brings the cake?")],
        )
    )
    assert text.splitlines() == [
        f"📝 Notes of the call in <#5>, <t:{at}:f>, 10 min.",
        "**There:** Anna (10 min), Ben (45 s), 1 more",
        "**Summary:** They meet.",
        "**Decisions:**",
        f"- <t:{at + 180}:t> They meet on Friday.",
        "**Open questions:**",
        f"- <t:{at + 240}:t> Who brings the cake?",
    ]


def test_without_a_summary_it_says_who_was_there() -> None:
    """And why there is no summary, without the address of a server."""
    text = notes(CallNotes(5, NOON, 600, unnamed=2, problem="The chat model failed: http://10.0.0.7:8000/v1 cannot be reached."))
    assert "**There:** 2 people" in text
    assert "There is no summary. The chat model failed" in text
    assert "10.0.0.7" not in text


def test_strange_words_and_names_do_nothing() -> None:
    """No mention, no link, no style, no second line, no change of direction."""
    bad = "@everyone **x** [a](http://b) <@1>\n# big\u202e"
    text = notes(CallNotes(5, NOON, 600, people=[(bad, 1)], summary=bad, decisions=[(NOON, bad)]))
    assert len(text.splitlines()) == 5
    assert "<@1>" not in text.replace("\\<@1>", "")
    assert "](http" not in text.replace("\\[a](http", "")
    assert "\u202e" not in text
    assert "\n#" not in text


def test_it_is_always_one_message() -> None:
    """With many people and as much text as may come."""
    wild = "*_`" * 400
    people = [(wild, 600.0)] * 60
    text = notes(CallNotes(5, NOON, 600, people=people, summary=wild, decisions=[(NOON, wild)] * 9, questions=[(NOON, wild)] * 9))
    assert len(text) <= PIECE_LIMIT
    assert f"{60 - MOST_NAMED} more" in notes(CallNotes(5, NOON, 600, people=[("Ben", 600.0)] * 60))
