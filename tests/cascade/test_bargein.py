"""Who may cut the engine off, and who only makes it wait."""

from discordplex.cascade.bargein import BACKCHANNEL_MS, BargeIn, BargeInDecision

ANNA, BEN = 1, 2
LONG, SHORT = BACKCHANNEL_MS, BACKCHANNEL_MS - 1


def test_a_cough_and_a_backchannel_let_it_go_on() -> None:
    """Short sounds over the engine's speech hold it and ask for nothing."""
    for voiced_ms in (None, SHORT):
        barge_in = BargeIn()
        assert barge_in.began(ANNA, sounding=True)
        assert not barge_in.is_cut_by(ANNA, SHORT, asker=BEN)
        assert barge_in.ended(ANNA, voiced_ms, asker=BEN) == BargeInDecision(keep=False, resume=True)


def test_whoever_goes_on_cuts_it_off() -> None:
    """Anybody may interrupt what is heard, and what they say is answered."""
    barge_in = BargeIn()
    barge_in.began(ANNA, sounding=True)
    assert barge_in.is_cut_by(ANNA, LONG, asker=BEN)
    assert barge_in.ended(ANNA, LONG, asker=BEN) == BargeInDecision(keep=True, cut=True)


def test_it_goes_on_when_the_last_has_finished() -> None:
    """Two coughs hold once and resume once."""
    barge_in = BargeIn()
    assert barge_in.began(ANNA, sounding=True)
    assert not barge_in.began(BEN, sounding=True)
    assert barge_in.ended(ANNA, None, asker=BEN) == BargeInDecision(keep=False)
    assert barge_in.ended(BEN, SHORT, asker=BEN) == BargeInDecision(keep=False, resume=True)


def test_who_asked_may_add_something_before_the_answer() -> None:
    """Before the answer is heard its asker replaces it, with as little as a word; a cough does not."""
    barge_in = BargeIn()
    barge_in.began(ANNA, sounding=False)
    assert barge_in.is_cut_by(ANNA, LONG, asker=ANNA)
    assert barge_in.ended(ANNA, SHORT, asker=ANNA) == BargeInDecision(cut=True)
    barge_in.began(ANNA, sounding=False)
    assert barge_in.ended(ANNA, None, asker=ANNA) == BargeInDecision(keep=False, resume=True)


def test_others_make_the_answer_wait_and_get_their_own() -> None:
    """Before the answer is heard somebody else's question joins the line, however long it is."""
    for voiced_ms in (SHORT, 10 * LONG):
        barge_in = BargeIn()
        barge_in.began(BEN, sounding=False)
        assert not barge_in.is_cut_by(BEN, voiced_ms, asker=ANNA)
        assert barge_in.ended(BEN, voiced_ms, asker=ANNA) == BargeInDecision(resume=True)


def test_who_began_before_the_turn_just_ends() -> None:
    """Speech that does not belong to the turn is kept where it is words."""
    assert BargeIn().ended(ANNA, SHORT, asker=ANNA) == BargeInDecision()
    assert BargeIn().ended(ANNA, None, asker=ANNA) == BargeInDecision(keep=False)
    assert not BargeIn().is_cut_by(ANNA, LONG, asker=ANNA)


def test_a_turn_that_is_over_holds_nothing() -> None:
    """Its end says whether it was held, once."""
    barge_in = BargeIn()
    barge_in.began(ANNA, sounding=True)
    assert barge_in.over()
    assert not barge_in.over()
    assert barge_in.speakers == []
