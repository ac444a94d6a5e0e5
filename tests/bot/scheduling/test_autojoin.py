"""What a move means."""

import pytest

from discordplex.bot.scheduling.autojoin import Decision, Follow, Join, Leave, Move, Stay, decide

HALL, ATTIC, AFK = 1, 2, 9
ANNA, BERT = 100, 200


@pytest.mark.parametrize(
    ("move", "call", "people", "expected"),
    [
        pytest.param(Move(ANNA, None, HALL), None, {HALL: {ANNA}}, Join(HALL), id="the first to enter calls the bot"),
        pytest.param(Move(ANNA, None, HALL), HALL, {HALL: {ANNA, BERT}}, Stay(), id="one more in the call changes nothing"),
        pytest.param(Move(ANNA, None, ATTIC), HALL, {HALL: {BERT}, ATTIC: {ANNA}}, Join(ATTIC), id="a second channel asks too"),
        pytest.param(Move(ANNA, HALL, None), HALL, {HALL: set()}, Leave(), id="the last one hangs up"),
        pytest.param(Move(ANNA, HALL, None), HALL, {HALL: {BERT}}, Stay(), id="somebody stays"),
        pytest.param(Move(ANNA, HALL, ATTIC), HALL, {ATTIC: {ANNA, BERT}}, Follow(ATTIC), id="the last one moves on"),
        pytest.param(Move(ANNA, HALL, ATTIC), HALL, {HALL: {BERT}, ATTIC: {ANNA}}, Join(ATTIC), id="one of two moves on"),
        pytest.param(Move(ANNA, HALL, AFK), HALL, {AFK: {ANNA}}, Leave(), id="nobody is followed to where nobody talks"),
        pytest.param(Move(ANNA, None, AFK), None, {AFK: {ANNA}}, Stay(), id="a closed channel is not joined"),
        pytest.param(Move(ANNA, HALL, HALL), HALL, {}, Stay(), id="a mute is no move"),
        pytest.param(Move(ANNA, ATTIC, None), HALL, {}, Stay(), id="leaving another channel is none of the call's business"),
        pytest.param(Move(ANNA, None, ATTIC), HALL, {ATTIC: {ANNA}}, Join(ATTIC), id="who enters elsewhere is not followed"),
    ],
)
def test_a_move_means_one_thing(move: Move, call: int | None, people: dict[int, set[int]], expected: Decision) -> None:
    """Each move has the meaning that a person expects."""
    assert decide(move, call=call, people=people, auto_join=True, closed={AFK}) == expected


def test_without_auto_join_no_call_begins_but_one_is_kept() -> None:
    """With auto_join off nobody is joined, while a call that stands is followed and left as ever."""
    assert decide(Move(ANNA, None, HALL), call=None, people={HALL: {ANNA}}, auto_join=False) == Stay()
    assert decide(Move(ANNA, HALL, ATTIC), call=HALL, people={ATTIC: {ANNA}}, auto_join=False) == Follow(ATTIC)
    assert decide(Move(ANNA, HALL, None), call=HALL, people={}, auto_join=False) == Leave()
