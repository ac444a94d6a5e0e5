"""Whose words an utterance holds, and which of them an opt-out reaches."""

import pytest

from discordplex.audio.format import ENGINE
from discordplex.realtime.turns import FloorWatch
from discordplex.realtime.utterances import MOST_ITEMS, Utterances
from tests.realtime.harness import ANNA, BERT


def said(*lengths_ms: tuple[int, int | None]) -> Utterances:
    """What the session got: for each so many milliseconds of somebody, or of nobody."""
    utterances = Utterances(FloorWatch())
    for length_ms, speaker in lengths_ms:
        for _ in range(length_ms // ENGINE.frame_ms):
            utterances.spoken.add(ENGINE.frame_ms, frozenset(() if speaker is None else (speaker,)))
    return utterances


@pytest.mark.parametrize(("begin_ms", "end_ms"), [(0, 1000), (0, None), (5000, 9000), (1e12, 1e12)])
def test_whose_it_is_is_known_whatever_the_servers_clock_says(begin_ms: float, end_ms: float | None) -> None:
    """The server's times may be missing, or of another clock."""
    utterances = said((1000, ANNA))
    utterances.begin("a", begin_ms, sounding=False)
    if end_ms is not None:
        utterances.end("a", end_ms)
    found = utterances.commit("a")
    assert found is not None
    assert (found.people, found.speaker) == (frozenset({ANNA}), ANNA)


def test_an_utterance_of_two_is_of_both_and_of_neither_alone() -> None:
    """Both can have it deleted."""
    utterances = said((500, ANNA), (500, BERT))
    utterances.begin("a", 0, sounding=False)
    found = utterances.commit("a")
    assert found is not None
    assert (found.people, found.speaker) == (frozenset({ANNA, BERT}), None)
    assert utterances.forget(BERT) == ["a"]


def test_what_is_heard_and_not_committed_is_forgotten_with_its_speaker() -> None:
    """Also where the commit says that others spoke."""
    utterances = said((500, ANNA))
    utterances.begin("a", 0, sounding=False)
    assert utterances.forget(BERT) == []
    assert utterances.forget(ANNA) == ["a"]
    assert utterances.forgotten == {ANNA}
    assert utterances.is_uncommitted(ANNA)


def test_a_second_commit_counts_only_with_new_sound() -> None:
    """Otherwise it would be a second question."""
    utterances = said((500, ANNA))
    assert utterances.commit("a") is not None
    assert utterances.commit("a") is None
    utterances.spoken.add(ENGINE.frame_ms, frozenset({ANNA}))
    assert utterances.commit("a") is not None


def test_a_server_that_hears_people_without_end_fills_no_memory() -> None:
    """The newest are kept."""
    utterances = said((500, ANNA))
    for number in range(MOST_ITEMS + 10):
        utterances.begin(str(number), 0, sounding=False)
    assert len(list(utterances)) == MOST_ITEMS
    assert "0" not in utterances
