"""Which replies are wanted, whose words they answer, and where they were cut."""

from discordplex.realtime.replies import HeardPart, Replies
from discordplex.realtime.utterances import MOST_ITEMS
from tests.realtime.harness import ANNA, BERT


def asked(*people: int) -> Replies:
    """Somebody has finished, after the greeting."""
    replies = Replies()
    assert replies.begin("greeting", always=False)
    replies.end("greeting")
    replies.ask(frozenset(people))
    return replies


def test_one_reply_for_each_question() -> None:
    """The first that begins is wanted; a second one has no question, and a model that owns its turns needs none."""
    replies = asked(ANNA)
    assert replies.begin("r1", always=False)
    assert not replies.begin("r2", always=False)
    assert replies.is_dropped("r2")
    assert replies.begin("r3", always=True)


def test_a_server_that_answers_unasked_answers_by_itself() -> None:
    """It is not asked any more; a reply that was asked for and is late says nothing about that."""
    replies = asked(ANNA)
    replies.server_creates = False
    replies.create()
    replies.drop_all()
    assert not replies.begin("late", always=False)
    assert not replies.server_creates
    assert not replies.begin("unasked", always=False)
    assert replies.server_creates


def test_two_who_ask_before_an_answer_are_both_answered() -> None:
    """So that either can have it deleted; the next question is one person's."""
    replies = asked(ANNA)
    replies.ask(frozenset({BERT}))
    replies.begin("r1", always=False)
    replies.add_sound("i1", "r1", 100)
    assert replies.answering(ANNA) == replies.answering(BERT) == ["i1"]
    replies.ask(frozenset({BERT}))
    assert replies.asked_by == {BERT}


def test_what_people_heard_of_several_items() -> None:
    """Never more than came, nothing of what comes after, and no part of what was heard whole."""
    replies = asked(ANNA)
    replies.begin("r1", always=False)
    for item in ("before", "heard", "after"):
        replies.add_sound(item, "r1", 1000)
    assert replies.cut("heard", 250.7) == [HeardPart("heard", 250, 0.25), HeardPart("after", 0, 0.0)]
    assert replies.cut("heard", 9000) == []
    assert [replies.is_dropped("r1", item) for item in ("before", "heard", "after")] == [False, True, True]


def test_an_end_of_one_that_is_not_known_ends_all() -> None:
    """A server may name its replies by no id; it counts as due where one was."""
    replies = asked(ANNA)
    replies.create()
    found = [replies.are_due, replies.end("unknown"), replies.are_due, replies.end("unknown")]
    assert found == [True, True, False, False]


def test_a_server_that_makes_items_without_end_fills_no_memory() -> None:
    """The newest are kept, and the newest that are dropped."""
    replies = Replies()
    for number in range(MOST_ITEMS + 10):
        replies.begin(str(number), always=True)
        replies.add_sound(str(number), str(number), 1)
        replies.drop(str(number))
    assert len(list(replies)) == len(replies.cancel()) == MOST_ITEMS
    assert not replies.is_dropped("0")
