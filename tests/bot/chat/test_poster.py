"""The one writer per channel."""

import asyncio
import itertools
from typing import Any

import aiohttp
import discord
import pytest
from structlog.testing import capture_logs

from discordplex.bot.chat.poster import LONGEST_STRETCH, MOST_FAILURES, MOST_MESSAGES, SILENCE_WHEN_REFUSED_S, WRITE_INTERVAL_S, Poster
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bot.fakes import FakeChannel, FakeMessage


class Refusal:
    """The part of an HTTP answer that py-cord's exceptions look at."""

    def __init__(self, status: int) -> None:
        self.status = status
        self.reason = "because"


def refusal(kind: type[discord.HTTPException], status: int) -> discord.HTTPException:
    return kind(Refusal(status), "no")


class FakeThread(FakeChannel):
    """A thread in which nothing can be edited while it is archived."""

    async def unarchive(self) -> None:
        self.writes.append((self.clock.now(), "unarchive"))


def archived() -> discord.HTTPException:
    return discord.HTTPException(Refusal(400), {"code": 50083, "message": "Thread is archived"})


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def poster(channel: FakeChannel, clock: FakeClock, metrics: Metrics) -> Poster:
    return Poster(channel, clock=clock, metrics=metrics)


async def speak(poster: Poster, clock: FakeClock, words: list[str], every_s: float) -> None:
    """A stretch of speech that grows word by word and ends."""
    said = ""
    for word in words:
        said += word
        poster.caption(1, said, final=False)
        await clock.advance(every_s)
    poster.caption(1, said, final=True)


async def test_a_stretch_of_speech_is_one_message_edited_in_place(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """Three hundred pieces in twenty seconds become one message, never two writes within a second, and the whole text at the end."""
    words = [f"word{number} " for number in range(200)]
    await speak(poster, clock, words, 0.1)
    await clock.advance(3)
    assert channel.texts == ["".join(words).strip()]
    times = [at for at, _ in channel.writes]
    assert min(later - sooner for sooner, later in itertools.pairwise(times)) >= 1.0
    assert len(times) <= 23
    assert poster.idle


async def test_the_first_word_is_not_kept_waiting(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """A channel that was quiet shows a new text at once."""
    poster.caption(1, "Well", final=False)
    await settle()
    assert channel.texts == ["Well"]
    assert channel.writes[0][0] == clock.now()
    await poster.close()


async def test_a_long_stretch_goes_on_in_a_second_message(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """What no longer fits into one message follows in the next, cut at a sentence, with nothing lost and nothing twice."""
    sentences = [f"This is sentence {number}, and it says little. " for number in range(100)]
    await speak(poster, clock, sentences, 0.2)
    await clock.advance(6)
    assert len(channel.texts) == 3
    assert all(text.endswith("little.") for text in channel.texts)
    assert " ".join(channel.texts) == "".join(sentences).strip()


async def test_a_growing_text_does_not_starve_a_notice(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """Who waits longest is written next, however fast somebody speaks."""
    poster.caption(1, "One", final=False)
    await settle()
    poster.caption(1, "One two", final=False)
    poster.notice("Something happened.")
    for text in ("One two three", "One two three four", "One two three four five"):
        await clock.advance(WRITE_INTERVAL_S)
        poster.caption(1, text, final=False)
    await clock.advance(2 * WRITE_INTERVAL_S)
    assert channel.texts == ["One two three four five", "Something happened."]
    assert channel.writes[2][1] == "send"


async def test_an_urgent_notice_is_written_first(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """A call waits for it; the others keep their order."""
    for text in ("One.", "Two.", "Three."):
        poster.notice(text)
    poster.notice("Now.", key="now", urgent=True)
    await clock.advance(4 * WRITE_INTERVAL_S)
    assert channel.texts == ["Now.", "One.", "Two.", "Three."]


async def test_what_grows_while_it_is_written_goes_behind_the_others(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """The text that came during a write is not lost, and who waited longer is written first."""

    def more() -> None:
        poster.caption(1, "One two", final=True)
        channel.meanwhile = lambda: None

    channel.meanwhile = more
    poster.caption(1, "One", final=False)
    poster.notice("Something happened.")
    await clock.advance(5)
    assert channel.texts == ["One two", "Something happened."]
    assert [kind for _, kind in channel.writes] == ["send", "send", "edit"]


async def test_a_call_that_ends_while_its_opening_is_sent(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """The closing text comes while Discord has not answered the first write, which fails once besides: it is the last word all the same."""
    channel.meanwhile = lambda: poster.notice("The call has ended.", key=(1, "hello", 1), last=True)
    channel.faults = [OSError("reset"), None]
    poster.notice("I listen.", key=(1, "hello", 1))
    await settle()
    poster.finish(lambda key: key[0] == 1)  # type: ignore[index] # ours
    channel.meanwhile = lambda: None
    await clock.advance(10)
    assert channel.texts == ["The call has ended."]
    assert poster.forgettable


async def test_a_keyed_notice_changes_in_place(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """The engine that is lost and found again is one message."""
    poster.notice("Lost.", key="engine")
    await clock.advance(5)
    poster.notice("Back.", key="engine")
    poster.notice("Another thing.")
    poster.notice("Another thing.")
    await clock.advance(5)
    assert channel.messages[0].texts == ["Lost.", "Back."]
    assert channel.texts == ["Back.", "Another thing.", "Another thing."]


async def test_markup_in_speech_is_harmless(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """Neither styles nor mentions come out of an engine; every write forbids mentions besides, as the channel of this test demands."""
    poster.caption(1, "@everyone *wake* up, <@5>", final=True)
    await clock.advance(1)
    assert channel.texts == [r"@everyone \*wake\* up, \<@5>"]


async def test_a_text_that_shrinks_takes_its_rest_back(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """A correction that needs fewer messages deletes those that are left over."""
    poster.caption(1, "word " * 700, final=False)
    await clock.advance(3)
    assert len(channel.texts) == 2
    poster.caption(1, "Short.", final=True)
    await clock.advance(3)
    assert channel.texts == ["Short."]
    assert poster.idle


@pytest.mark.parametrize(
    "fault", [refusal(discord.DiscordServerError, 500), refusal(discord.HTTPException, 429), aiohttp.ClientConnectionError()]
)
async def test_a_failed_write_is_tried_again(poster: Poster, channel: FakeChannel, clock: FakeClock, fault: Exception) -> None:
    """A server error, a rate limit and a lost connection each cost a pause and no text; a second try carries the same nonce."""
    channel.faults = [fault, fault]
    poster.caption(1, "Hello there", final=True)
    poster.notice("Behind it.")
    await clock.advance(10)
    assert channel.texts == ["Hello there", "Behind it."]
    assert channel.nonces[0] == channel.nonces[1] == channel.nonces[2] != channel.nonces[3]


async def test_a_write_that_never_works_is_given_up(poster: Poster, channel: FakeChannel, clock: FakeClock, metrics: Metrics) -> None:
    """After some tries the next message gets its turn, and the loss is counted."""
    channel.faults = [refusal(discord.HTTPException, 400)] * MOST_FAILURES
    poster.notice("Never.")
    await clock.advance(0)
    poster.notice("Then this.")
    await clock.advance(300)
    assert channel.texts == ["Then this."]
    assert metrics.counter("poster.dropped").value == 1


async def test_a_forbidden_channel_is_left_alone_for_a_while(
    poster: Poster, channel: FakeChannel, clock: FakeClock, metrics: Metrics
) -> None:
    """One refused write a minute at most, and the channel works again once it is allowed."""
    channel.faults = [refusal(discord.Forbidden, 403)]
    for _ in range(20):
        poster.notice("May I?")
        await clock.advance(2)
    assert len(channel.writes) == 1
    assert metrics.counter("poster.dropped").value == 20
    await clock.advance(SILENCE_WHEN_REFUSED_S)
    poster.notice("Now?")
    await clock.advance(1)
    assert channel.texts == ["Now?"]


async def test_a_deleted_message_stays_deleted(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """When a moderator deletes a caption, that stretch is not written again; the next one is."""
    poster.caption(1, "Something rude", final=False)
    await clock.advance(2)
    channel.faults = [refusal(discord.NotFound, 404)]
    for text in ("Something rude and", "Something rude and more"):
        poster.caption(1, text, final=False)
        await clock.advance(2)
    poster.caption(2, "Something nice", final=True)
    await clock.advance(2)
    assert channel.texts == ["Something rude", "Something nice"]
    assert len(channel.writes) == 3


async def test_flush_writes_everything_in_few_messages(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """At the end what is written but stale is brought up to date, and what is not begun is packed together."""
    poster.caption(1, "The end", final=False)
    await settle()
    poster.caption(1, "The end is near", final=True)
    for number in range(5):
        poster.notice(f"Notice {number}.")
    flushed = asyncio.create_task(poster.flush())
    await clock.advance(2 * WRITE_INTERVAL_S)
    assert flushed.done()
    assert channel.texts == ["The end is near", "Notice 0.\nNotice 1.\nNotice 2.\nNotice 3.\nNotice 4."]


async def test_what_waits_is_bounded(poster: Poster, channel: FakeChannel, clock: FakeClock, metrics: Metrics) -> None:
    """While Discord takes nothing, the oldest goes, the newest stays, and the loss is counted."""
    for number in range(MOST_MESSAGES + 50):
        poster.notice(f"{number}.")
    await clock.advance((MOST_MESSAGES + 50) * WRITE_INTERVAL_S)
    assert len(channel.texts) == MOST_MESSAGES
    assert channel.texts[-1] == f"{MOST_MESSAGES + 49}."
    assert metrics.counter("poster.dropped").value == 50


async def test_a_bug_in_one_message_does_not_silence_the_channel(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """Whatever a write raises, the next message is written."""
    channel.faults = [ZeroDivisionError()]
    poster.notice("Broken.")
    poster.notice("Whole.")
    await clock.advance(3)
    assert channel.texts == ["Whole."]


async def test_close_leaves_no_task(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """Closing stops in the middle of a pause: nothing is written any more, and no task is left."""
    poster.notice("One.")
    poster.notice("Two.")
    await settle()
    await poster.close()
    await poster.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("poster:")]
    await clock.advance(60)
    assert channel.texts == ["One."]


class SlowChannel(FakeChannel):
    """Discord takes its time."""

    took: list[tuple[float, float]]

    async def send(self, content: str, **how: Any) -> FakeMessage:
        began = self.clock.now()
        await self.clock.sleep_until(began + 0.8)
        message = await super().send(content, **how)
        self.took.append((began, self.clock.now()))
        return message


async def test_a_stream_of_notices_keeps_to_the_limits(clock: FakeClock, metrics: Metrics) -> None:
    """However long a write takes, the next begins a second after its end, since nobody knows when in between Discord counted it."""
    channel = SlowChannel(clock)
    channel.took = []
    poster = Poster(channel, clock=clock, metrics=metrics)
    for number in range(20):
        poster.notice(f"Notice {number}.")
    await clock.advance(60)
    assert len(channel.took) == 20
    assert min(began - ended for (_, ended), (began, _) in itertools.pairwise(channel.took)) >= 1.0


async def test_what_is_being_written_of_somebody_who_opts_out_is_taken_back(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """It cannot be recalled on its way; it is deleted as soon as it is there. What waits is never written; the engine's words are."""

    def opt_out() -> None:
        channel.meanwhile = lambda: None
        poster.drop_captions(lambda _key, speaker: speaker == 100)

    channel.meanwhile = opt_out
    poster.caption(1, "Anna: on its way", final=True, speaker=100)
    poster.caption(2, "Anna: still waiting", final=True, speaker=100)
    poster.caption(3, "Bert: others", final=True, speaker=200)
    poster.caption(4, "The engine", final=True)
    await clock.advance(10)
    assert channel.texts == ["Bert: others", "The engine"]
    assert channel.messages[0].deleted
    assert poster.idle


async def test_the_end_of_a_call_is_written_first(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """Where time is short, what says that it is over goes before everything else; what was never sent is not sent for that."""
    poster.notice("Listening.", key=(1, "hello"))
    poster.caption(1, "Words", final=False)
    await clock.advance(3)
    poster.caption(1, "Words and more", final=True)
    poster.notice("Something.")
    poster.notice("It is over.", key=(1, "hello"), last=True)
    poster.notice("Never sent.", key=(1, "other"))
    poster.notice("It is over.", key=(1, "other"), last=True)
    before = len(channel.writes)
    flushed = asyncio.create_task(poster.flush())
    await clock.advance(0.1)
    assert (len(channel.writes), channel.messages[0].text) == (before + 1, "It is over.")
    await clock.advance(5)
    assert flushed.done()
    assert channel.texts == ["It is over.", "Words and more", "Something."]
    assert poster.forgettable


async def test_a_flood_of_captions_leaves_the_notices(poster: Poster, channel: FakeChannel, clock: FakeClock) -> None:
    """A notice that may have to change later is not forgotten for captions; one stretch without end is cut."""
    poster.notice("Listening.", key=(1, "hello"))
    await clock.advance(2)
    for number in range(2 * MOST_MESSAGES):
        poster.caption(number, f"{number}.", final=False)
    poster.notice("It is over.", key=(1, "hello"), last=True)
    await poster.close()
    await clock.advance(2)
    poster.caption("long", "word " * 100_000, final=True)
    assert len(poster._drafts) <= MOST_MESSAGES
    assert sum(len(draft.wanted) for draft in poster._drafts.values()) < 2 * LONGEST_STRETCH
    await clock.advance(2 * MOST_MESSAGES)
    assert channel.messages[0].text == "It is over."


@pytest.mark.parametrize("fault", [KeyError("id"), TypeError("string indices must be integers"), ValueError("no JSON")])
async def test_an_odd_answer_of_discord_is_one_plain_line(poster: Poster, channel: FakeChannel, clock: FakeClock, fault: Exception) -> None:
    """A page, nothing, or other JSON where a message should be: a line without a traceback, and the write is tried again."""
    channel.faults = [fault]
    with capture_logs() as lines:
        poster.notice("still said")
        await clock.advance(3)
    assert [(line["event"], line["log_level"], line.get("exc_info")) for line in lines] == [
        ("writing in a channel failed", "warning", None)
    ]
    assert channel.texts == ["still said"]
    assert len(set(channel.nonces)) == 1, "Discord drops the second where the first did arrive"


async def test_what_stands_in_an_archived_thread_is_still_corrected(clock: FakeClock, metrics: Metrics) -> None:
    """Discord archives a thread after an hour of silence: a notice in it does not go on claiming what is over."""
    thread = FakeThread(clock)
    poster = Poster(thread, clock=clock, metrics=metrics)
    poster.notice("I am listening", key="hello")
    await clock.advance(2)
    thread.faults = [archived()]
    poster.notice("It is over", key="hello", last=True)
    await clock.advance(2)
    assert thread.texts == ["It is over"]
    assert [kind for _, kind in thread.writes] == ["send", "edit", "unarchive", "edit"]
