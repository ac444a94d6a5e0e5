"""Who is in the channel."""

from discordplex.voice.members import Members


def test_people_are_counted_once_and_we_not_at_all() -> None:
    """A name that comes again changes nothing, and our own never counts."""
    roster = Members(1)
    assert roster.joined([1, 2, 3, 2]) == [2, 3]
    assert roster.joined([2]) == []
    assert roster.people == {2, 3}
    for _ in range(2):
        roster.left(2)
        assert roster.people == {3}


def test_a_new_session_keeps_people_until_it_has_settled() -> None:
    """Who is named again stays without a word; who is not, is gone once the session has settled."""
    roster = Members(1)
    roster.joined([2, 3, 4])
    roster.new_session()
    assert roster.people == {2, 3, 4}
    assert roster.joined([3]) == []
    roster.left(4)
    assert roster.people == {2, 3}
    for _ in range(2):
        roster.settled()
        assert roster.people == {3}
