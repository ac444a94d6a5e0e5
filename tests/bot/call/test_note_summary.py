"""The chat model's answer becomes notes, whatever it answers, and never a time that was not."""

from datetime import datetime, timedelta, timezone

import pytest

from discordplex.bot.call.note_summary import LEAST_CHARACTERS, MOST_PROMPT_CHARACTERS, NoteSummary, newest, prompt_of, read_answer
from discordplex.bot.texts.notes import LONGEST_ITEM, LONGEST_SUMMARY, MOST_ITEMS
from discordplex.store.records import TranscriptLine

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=timezone.utc)
ANNA = 100


def said(*texts: str) -> list[TranscriptLine]:
    """Lines of one call, a minute apart; the engine says every second one."""
    return [
        TranscriptLine(1, "call", None if number % 2 else ANNA, NOON + timedelta(minutes=number), text) for number, text in enumerate(texts)
    ]


LINES = said("Shall we meet on Friday?", "Friday is fine.", "And who brings the cake?")

ANSWERS = {
    "as asked": "SUMMARY: They meet.\nDECISION 2: They meet on Friday.\nQUESTION 3: Who brings the cake?",
    "decorated": "**SUMMARY**: They meet.\n\n- **DECISION 2:** They meet on Friday.\n- QUESTION [3]: Who brings the cake?",
    "in small letters and other colons": "Summary: They meet.\ndecision 2\uff1a They meet on Friday.\nQuestion (3): Who brings the cake?",
    "in several lines": "SUMMARY:\nThey\nmeet.\nDECISION 2: They meet on Friday.\nQUESTION 3: Who brings the cake?\nThat is all.",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_answers_of_every_kind_are_read(answer: str) -> None:
    """Each decision and question has the time of the line that it names."""
    minute = timedelta(minutes=1)
    assert read_answer(answer, LINES) == NoteSummary(
        "They meet.", ((NOON + minute, "They meet on Friday."),), ((NOON + 2 * minute, "Who brings the cake?"),)
    )


@pytest.mark.parametrize("line", ["DECISION 4: Late.", "DECISION 0: Early.", "DECISION: Never.", "DECISION 2:", "QUESTION 999999: So?"])
def test_an_item_without_a_time_is_dropped(line: str) -> None:
    """No such line was said, or nothing stands there."""
    assert read_answer(f"SUMMARY: They meet.\n{line}", LINES) == NoteSummary("They meet.")


def test_an_answer_without_any_form_is_the_summary() -> None:
    """Small models may not keep to it."""
    assert read_answer("They want to\nmeet.", LINES) == NoteSummary("They want to meet.")
    assert read_answer("", LINES) == NoteSummary()


def test_everything_is_bounded() -> None:
    """However much the model writes."""
    items = "".join(f"DECISION 1: {'so ' * 500}\nQUESTION 1: why\n" for _ in range(100))
    found = read_answer(f"SUMMARY: {'word ' * 5000}\n{items}", LINES)
    assert len(found.text) <= LONGEST_SUMMARY
    assert len(found.decisions) == len(found.questions) == MOST_ITEMS
    assert all(len(text) <= LONGEST_ITEM for _, text in found.decisions)


def test_the_prompt_has_numbers_and_names_and_no_second_line() -> None:
    """A text or a name with a line break makes no line of its own."""
    lines = said("Hello\n7 Ben: I pay.", "Hi.")
    assert prompt_of(lines, "The bot", lambda _: "An\nna") == "1 An na: Hello 7 Ben: I pay.\n2 The bot: Hi."


def test_the_newest_lines_are_asked_about() -> None:
    """As many as fit, nothing of a call in which hardly anything was said, and always one."""
    assert not newest(said("x" * (LEAST_CHARACTERS - 1)))
    lines = said(*["word " * 100] * 200)
    kept = newest(lines)
    assert kept == lines[-len(kept) :]
    assert 0 < len(kept) < len(lines)
    assert sum(len(line.text) for line in kept) <= MOST_PROMPT_CHARACTERS
    assert len(newest(said("x" * 10 * MOST_PROMPT_CHARACTERS))) == 1
