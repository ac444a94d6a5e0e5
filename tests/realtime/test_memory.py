"""What a new session is told of the last one."""

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
