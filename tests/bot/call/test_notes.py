"""Notes after a call: only where they are wanted and people were told, with nothing of those who do not want it."""

import asyncio
import re
from dataclasses import replace

import pytest

from discordplex.bot import guild_rules, texts
from discordplex.bot.call.notes import MOST_PEOPLE, MOST_TRIES, Attendance
from discordplex.errors import StoreError
from discordplex.loopback.clock import FakeClock, settle
from discordplex.store.records import Owner
from tests.bot.hall import ANNA, BERT, GUILD, Hall, hall

LONG = "We want to go to the lake on Friday, and somebody has to bring the boat, and somebody else has to bring a cake. " * 2


@pytest.fixture(autouse=True)
def _short_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them are 20 s: every second of a call is fifty ticks."""
    monkeypatch.setattr(guild_rules, "MINUTE_S", 10.0)


async def a_call(it: Hall, clock: FakeClock, *, notes: bool = True, rest_s: float = 10) -> None:
    """Anna and Bert talk, with transcripts and notes."""
    await it.switch(transcripts=True, notes=notes)
    await it.says(LONG, ANNA)
    await it.says("I bring the boat.", BERT)
    await it.says("Good.")
    await clock.advance(rest_s)


async def asked(it: Hall) -> None:
    """Return once the chat model was asked; it does not answer before `hold` is set."""
    it.summarizer.hold.clear()
    await it.end()
    await it.summarizer.was_asked.wait()


async def ended(it: Hall, clock: FakeClock) -> str:
    """The notes once the call has ended; empty where there are none."""
    await it.end()
    for _ in range(100):
        if not it.notes._tasks:
            break
        await asyncio.sleep(0.01)
        await clock.advance(0.1)
    return next((text for text in it.posted if "Notes of the call" in text), "")


async def test_the_notes_say_who_was_there_and_what_was_decided(clock: FakeClock) -> None:
    """With the times at which it was said, and a button; people were told before, by whom the call is summed up."""
    async with hall(clock) as it:
        it.summarizer.answers = ["SUMMARY: They go to the lake.\nDECISION 2: Bert brings the boat.\nQUESTION 1: Who brings the cake?"]
        await a_call(it, clock)
        assert "after the call the transcript goes to a chat model (gpt-6-luna), and I post a summary of it" in it.greeting()
        text = await ended(it, clock)
        assert "Notes of the call in <#11>" in text
        assert " s), Person" in text
        assert "**Summary:** They go to the lake." in text
        lines = await it.store.transcripts.read(GUILD, (await it.store.transcripts.calls(GUILD))[0].call)
        assert f"- <t:{int(lines[1].said_at.timestamp())}:t> Bert brings the boat." in text
        assert f"- <t:{int(lines[0].said_at.timestamp())}:t> Who brings the cake?" in text
        assert it.chat.messages[-1].view is not None
        (asked,) = it.summarizer.asked
        assert asked.splitlines() == [f"1 Person 100: {LONG.strip()}", "2 Person 200: I bring the boat.", "3 The bot: Good."]


@pytest.mark.parametrize("why", ["off", "short", "transcripts off", "nobody could be told"])
async def test_there_are_none(clock: FakeClock, why: str) -> None:
    """Where nobody switched them on, in a call of two minutes, without transcripts, and where people do not know."""
    async with hall(clock) as it:
        if why == "nobody could be told":
            it.chat.hidden_from = it.square.hidden_from = frozenset({BERT})
        await a_call(it, clock, notes=why != "off", rest_s=0 if why == "short" else 10)
        if why == "transcripts off":
            await it.switch(transcripts=False)
        assert await ended(it, clock) == ""
        assert not it.summarizer.asked


async def test_what_was_said_before_people_knew_is_not_summed_up(clock: FakeClock) -> None:
    """Notes switched on in the middle of a call begin there, although the transcript began before."""
    async with hall(clock) as it:
        await a_call(it, clock, notes=False)
        await it.switch(notes=True)
        await it.says(LONG.upper(), ANNA)
        assert await ended(it, clock)
        assert it.summarizer.asked == [f"1 Person 100: {LONG.upper().strip()}"]


@pytest.mark.parametrize("when", ["before the end", "while they are made"])
async def test_who_opts_out_is_not_in_them(clock: FakeClock, when: str) -> None:
    """Neither their words nor their name; notes that are being made are made again."""
    async with hall(clock) as it:
        await a_call(it, clock)
        await it.says(LONG.upper(), BERT)
        if when == "before the end":
            await it.preferences.silence(ANNA)
        else:
            await asked(it)
            await it.preferences.silence(ANNA)
            it.notes.forget(Owner("person", ANNA))
            it.summarizer.hold.set()
        text = await ended(it, clock)
        assert "Person 200" in text
        assert "Person 100" not in text
        assert "Person 100" not in it.summarizer.asked[-1]
        assert "Person 200" in it.summarizer.asked[-1]
        assert "The bot" not in it.summarizer.asked[-1], "it may have quoted them"


@pytest.mark.parametrize("what", ["opts out", "transcript deleted"])
async def test_notes_that_discord_does_not_take_yet_are_made_again(clock: FakeClock, what: str) -> None:
    """They wait for an outage to end, and somebody opts out meanwhile, or an admin deletes the transcript."""
    async with hall(clock) as it:
        await a_call(it, clock)
        it.chat.faults = [OSError("an outage")] * 3
        await it.end()
        for _ in range(100):
            await asyncio.sleep(0.01)
            await clock.advance(0.05)
            if len(it.chat.faults) < 3:
                break
        if what == "opts out":
            await it.preferences.silence(ANNA)
            it.notes.forget(Owner("person", ANNA))
        else:
            it.notes.forget(Owner("guild", GUILD))
        for _ in range(100):
            await asyncio.sleep(0.005)
            await clock.advance(0.1)
        text = next((text for text in it.posted if "Notes of the call" in text), "")
        assert "Person 100" not in text
        assert ("Person 200" in text) is (what == "opts out")


async def test_a_summary_is_not_asked_for_again_and_again(clock: FakeClock) -> None:
    """Somebody who opts out and in again while it is made costs a bounded number of requests; then who was there is posted."""
    async with hall(clock) as it:
        await a_call(it, clock)
        await asked(it)
        for _ in range(MOST_TRIES):
            await it.summarizer.was_asked.wait()
            it.summarizer.was_asked.clear()
            it.notes.forget(Owner("person", ANNA))
        text = await ended(it, clock)
        assert len(it.summarizer.asked) == MOST_TRIES
        assert "**There:**" in text
        assert "**Summary" not in text


async def test_a_deleted_transcript_has_no_notes(clock: FakeClock) -> None:
    """An admin deletes it while they are made: nothing is posted."""
    async with hall(clock) as it:
        await a_call(it, clock)
        await asked(it)
        await it.preferences.forget_transcripts(GUILD)
        it.summarizer.hold.set()
        await settle()
        assert await ended(it, clock) == ""


async def test_who_deletes_their_data_is_not_summed_up(clock: FakeClock) -> None:
    """Their lines are gone from the transcript, and so from the notes."""
    async with hall(clock) as it:
        await a_call(it, clock)
        await it.says(LONG.upper(), BERT)
        await it.preferences.forget(ANNA)
        assert await ended(it, clock)
        assert "Person 100" not in it.summarizer.asked[-1]


async def test_a_chat_model_that_fails_is_one_sentence(clock: FakeClock) -> None:
    """Who was there is posted all the same."""
    async with hall(clock) as it:
        it.summarizer.answers = [StoreError("The chat model failed: its server cannot be reached.")]
        await a_call(it, clock)
        text = await ended(it, clock)
        assert "Person 100 (" in text
        assert "There is no summary. The chat model failed: its server cannot be reached." in text


async def test_a_transcript_that_cannot_be_read_is_one_sentence(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database does not answer: nothing is summed up, and nobody is asked."""
    async with hall(clock) as it:
        await a_call(it, clock)

        async def refuse(*_: object) -> None:
            raise StoreError("The transcript was not read: the database does not answer.")

        monkeypatch.setattr(it.store.transcripts, "read", refuse)
        text = await ended(it, clock)
        assert "There is no summary. The transcript was not read" in text
        assert not it.summarizer.asked


async def test_without_a_chat_model_they_say_who_was_there(clock: FakeClock) -> None:
    """And the first message says no more than that."""
    async with hall(clock) as it:
        it.notes._summarizer = None
        it.call.state.summarizer = ""
        await a_call(it, clock)
        assert it.greeting().count("after the call I post who was there, and for how long") == 1
        text = await ended(it, clock)
        assert "Person 100 (" in text
        assert "ummary" not in text


async def test_notes_that_are_switched_off_meanwhile_are_not_posted(clock: FakeClock) -> None:
    """The answer of the model comes too late for them."""
    async with hall(clock) as it:
        await a_call(it, clock)
        await asked(it)
        await it.preferences.change_guild(GUILD, lambda now: replace(now, notes=False))
        it.summarizer.hold.set()
        assert await ended(it, clock) == ""


async def test_names_are_only_where_everybody_may_read_them(clock: FakeClock) -> None:
    """As in every message of the bot."""
    async with hall(clock) as it:
        await a_call(it, clock)
        it.voice_channel.blind = frozenset({ANNA})
        it.call._count_people()
        text = await ended(it, clock)
        assert re.search(r"\*\*There:\*\* Person 200 \(\d+ s\), 1 more", text)
        assert "1 Somebody: We want" in it.summarizer.asked[-1]


async def test_attendance_adds_up(clock: FakeClock) -> None:
    """Who comes back is counted on, the longest first, and the number of people is bounded."""
    attendance = Attendance(clock)
    attendance.update(frozenset({ANNA}))
    await clock.advance(10)
    attendance.update(frozenset({BERT}))
    await clock.advance(30)
    attendance.update(frozenset({ANNA}))
    await clock.advance(5)
    assert list(attendance.seconds().items()) == [(BERT, 30.0), (ANNA, 15.0)]
    attendance.update(frozenset(range(1000, 1000 + 2 * MOST_PEOPLE)))
    assert len(attendance.seconds()) == MOST_PEOPLE


def test_the_button_is_named() -> None:
    """Its label is a right of its own."""
    assert texts.notes.DELETE == "Delete these notes"
