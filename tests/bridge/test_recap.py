"""What is kept of a call for the engine's next conversation."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from discordplex.bridge.events import Caption
from discordplex.bridge.recap import LONGEST_SUMMARY, MOST_CHARACTERS, MOST_TURNS, RecapKeeper
from discordplex.engine import NO_RECAP, RecapTurn
from discordplex.loopback.clock import settle

ANN, BEN = 1, 2
NAMES = {ANN: "Ann", BEN: "Ben"}


class Writer:
    """A chat model that does what a test says."""

    name = "a chat model"

    def __init__(self, write: Callable[[str], Awaitable[str]]) -> None:
        self._write = write

    async def answer(self, instructions: str, text: str) -> str:
        assert "three short sentences" in instructions
        return await self._write(text)


async def test_nothing_is_summed_up_before_people_know() -> None:
    """The recap still has the newest turns."""
    allowed = False
    asked: list[str] = []

    async def summarize(text: str) -> str:
        asked.append(text)
        return "They met."

    keeper = RecapKeeper(name_of=NAMES.__getitem__, summarizer=Writer(summarize), may_summarize=lambda _: allowed)
    a_talk(keeper)
    keeper.prepare()
    await settle()
    assert not asked
    assert keeper.recap().turns
    allowed = True
    keeper.prepare()
    await settle()
    assert keeper.recap().summary == "They met."


async def test_the_question_whether_it_may_be_summed_up_says_whether_people_s_words_are_in_it() -> None:
    """Until everything is forgotten: a summary keeps what the turns lose."""
    asked: list[bool] = []

    def may(holds_people: bool) -> bool:  # noqa: FBT001 -- as it is called
        asked.append(holds_people)
        return False

    async def summarize(_: str) -> str:
        raise AssertionError

    keeper = RecapKeeper(summarizer=Writer(summarize), may_summarize=may)
    for caption in (said(1, "Hello."), said(2, "I am Ann.", ANN), *(said(number, "Well.") for number in range(3, 60))):
        keeper.hear(caption)
        keeper.prepare()
    assert asked == [False, *[True] * 58]
    keeper.clear(59)
    keeper.hear(said(60, "Hello."))
    keeper.prepare()
    assert not asked[-1]


def said(key: int, text: str, speaker: int | None = None, *, by_person: bool = False, final: bool = True) -> Caption:
    return Caption(key, text, final, speaker, "person" if by_person or speaker else "engine")


def a_talk(keeper: RecapKeeper) -> None:
    keeper.saw(frozenset({ANN, BEN}))
    keeper.hear(said(1, "Hel", final=False))
    keeper.hear(said(2, "I am Ann.", ANN))
    keeper.hear(said(1, "Hello."))
    keeper.hear(said(3, "I am nobody.", by_person=True))
    keeper.hear(said(4, "I am Ben.", BEN))


def test_turns_are_told_in_order_with_names() -> None:
    """A caption that grew is one turn."""
    keeper = RecapKeeper(name_of=NAMES.__getitem__)
    assert keeper.recap() == NO_RECAP
    a_talk(keeper)
    assert keeper.recap().turns == (
        RecapTurn("Hello."),
        RecapTurn("I am Ann.", "person", ANN, "Ann"),
        RecapTurn("I am nobody.", "person"),
        RecapTurn("I am Ben.", "person", BEN, "Ben"),
    )
    keeper.clear(4)
    assert not keeper.recap()


def test_an_opt_out_takes_their_words_and_whatever_may_hold_them() -> None:
    """Nameless words may be theirs, and the engine may have quoted them. Who was not in the call changes nothing."""
    keeper = RecapKeeper(name_of=NAMES.__getitem__)
    a_talk(keeper)
    assert not keeper.forget(3, 4)
    assert len(keeper.recap().turns) == 4
    assert keeper.forget(ANN, 4)
    assert not keeper.forget(ANN, 4)
    assert [turn.text for turn in keeper.recap().turns] == ["I am Ben."]


def test_what_had_begun_before_it_had_to_be_forgotten_does_not_come_back() -> None:
    """A caption that is still being said holds its beginning, too. What others say stays, and what the engine says from then on."""
    keeper = RecapKeeper(name_of=NAMES.__getitem__)
    a_talk(keeper)
    keeper.forget(ANN, 4)
    keeper.hear(said(1, "Hello Ann."))
    keeper.hear(said(3, "I am nobody, too.", by_person=True))
    keeper.hear(said(4, "I am Ben, too.", BEN))
    keeper.hear(said(5, "Hello Ben."))
    assert [turn.text for turn in keeper.recap().turns] == ["I am Ben, too.", "Hello Ben."]
    keeper.clear(5)
    keeper.hear(said(4, "I am Ben as well.", BEN))
    keeper.hear(said(6, "Hello."))
    assert [turn.text for turn in keeper.recap().turns] == ["Hello."]


def test_it_is_bounded() -> None:
    """In turns and characters; the newest stay."""
    keeper = RecapKeeper()
    for number in range(1000):
        keeper.hear(said(number, "x" * 1400))
    assert sum(len(turn.text) for turn in keeper.recap().turns) <= MOST_CHARACTERS
    for number in range(1000, 2000):
        keeper.hear(said(number, f"{number}"))
    turns = keeper.recap().turns
    assert len(turns) == MOST_TURNS
    assert turns[-1].text == "1999"


async def test_a_summary_is_made_beforehand_and_never_waited_for() -> None:
    """One at a time; the words it is made of are those of that moment."""
    asked: list[str] = []
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def summarize(text: str) -> str:
        asked.append(text)
        return await answer

    keeper = RecapKeeper(name_of=NAMES.__getitem__, summarizer=Writer(summarize))
    keeper.prepare()
    a_talk(keeper)
    keeper.prepare()
    keeper.prepare()
    await settle()
    assert asked == ["ASSISTANT: Hello.\nAnn: I am Ann.\nSOMEBODY: I am nobody.\nBen: I am Ben."]
    assert keeper.recap().summary == ""
    answer.set_result("They met.\n" + "And talked. " * 100)
    await settle()
    assert keeper.recap().summary.startswith("They met. And talked.")
    assert len(keeper.recap().summary) <= LONGEST_SUMMARY
    keeper.prepare()
    await settle()
    assert asked[1].startswith("BEFORE: They met.")


@pytest.mark.parametrize("ending", ["forget", "clear"])
async def test_a_summary_of_words_that_are_to_be_forgotten_is_never_told(ending: str) -> None:
    """The request is cancelled, and a summary that was there is dropped."""
    cancelled: list[bool] = []

    async def summarize(text: str) -> str:
        if not cancelled:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                cancelled.append(True)
        return f"{len(text.splitlines())} turns."

    keeper = RecapKeeper(name_of=NAMES.__getitem__, summarizer=Writer(summarize))
    a_talk(keeper)
    keeper.prepare()
    await settle()
    for _ in range(2):
        if ending == "forget":
            keeper.forget(ANN, 0)
        else:
            keeper.clear(0)
        await settle()
        assert cancelled == [True]
        assert keeper.recap().summary == ""
        a_talk(keeper)
        keeper.prepare()
        await settle()
        assert keeper.recap().summary == "4 turns."


async def test_a_summary_that_fails_is_done_without() -> None:
    """The newest turns are told all the same, and the next time it is tried again."""
    tries = 0

    async def summarize(_: str) -> str:
        nonlocal tries
        tries += 1
        raise OSError

    keeper = RecapKeeper(summarizer=Writer(summarize))
    a_talk(keeper)
    for _ in range(2):
        keeper.prepare()
        await settle()
    assert tries == 2
    assert keeper.recap().turns
