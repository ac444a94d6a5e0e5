"""Dicts within a bound."""

from discordplex.bounded import drop_oldest


def test_the_entries_that_were_added_first_go() -> None:
    """Only as many as are too many; a value that was changed keeps its place."""
    entries = dict.fromkeys("abcd", 0)
    entries["a"] = 1
    drop_oldest(entries, 4)
    assert list(entries) == ["a", "b", "c", "d"]
    drop_oldest(entries, 2)
    assert list(entries) == ["c", "d"]
    drop_oldest(entries, 0)
    assert entries == {}
