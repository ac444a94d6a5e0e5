"""What a new session is told of the last one."""

from discordplex.engine import Recap, RecapTurn
from discordplex.realtime.memory import MOST_CHARACTERS, MOST_TURNS, Memory


def told(memory: Memory) -> list[tuple[str, str]]:
    return [(role, words) for _, role, words in memory]


def test_turns_come_in_order_although_words_come_late() -> None:
    """A person's words are often known after the answer."""
    memory = Memory()
    memory.open("user", "a", frozenset({1}))
    memory.open("assistant", "b", frozenset({1}))
    memory.add("b", "Hello")
    memory.add("b", " Anna.")
    memory.put("a", "I am Anna.")
    assert told(memory) == [("user", "I am Anna."), ("assistant", "Hello Anna.")]
    memory.cut("b", 0.5)
    assert told(memory)[1] == ("assistant", "Hello")
    assert memory.forget(1) == ["a", "b"]
    assert told(memory) == []


def test_it_is_bounded() -> None:
    """In turns and characters; the newest stay."""
    memory = Memory()
    for number in range(1000):
        memory.open("user", str(number), frozenset())
        memory.add(str(number), "x" * 10_000)
        memory.put(str(number), f"{number} " + "y" * 10_000)
    found = told(memory)
    assert len(found) <= MOST_TURNS
    assert sum(len(words) for _, words in found) <= MOST_CHARACTERS
    assert found[-1][1].startswith("999 ")
    assert sum(len(turn.text) for turn in memory._turns) <= MOST_CHARACTERS
    assert len(memory.clear()) == MOST_TURNS


def test_a_call_that_comes_from_another_engine_begins_with_its_recap() -> None:
    """Only where nothing is remembered yet; an opt-out takes the words and whatever may quote them."""
    memory = Memory()
    recap = Recap(
        (RecapTurn("Hello Anna."), RecapTurn("I like tea.", "person", 1, "Anna"), RecapTurn("Rum.", "person", 2, "Ben")), summary="A talk."
    )
    for _ in range(2):
        memory.recall(recap)
        memory.begin_session()
    assert told(memory) == [
        ("user", "What was said so far, in short: A talk."),
        ("assistant", "Hello Anna."),
        ("user", "Anna: I like tea."),
        ("user", "Ben: Rum."),
    ]
    memory.forget(1)
    assert told(memory) == [("user", "Ben: Rum.")]
