"""A conversation with the cascade, as the bridge holds it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from discordplex.cascade import dialogue, turn
from discordplex.cascade.dialogue import LONGEST_WORDS_CHARACTERS, MOST_WAITING, TOO_MUCH
from discordplex.cascade.engine import INTERNAL, SPOKEN_MANNERS
from discordplex.cascade.provider import CascadeProvider
from discordplex.cascade.reasoning import ReasoningFilter, Spoken
from discordplex.cascade.reply import BROKEN_OFF
from discordplex.cascade.think import ChatModel
from discordplex.cascade.turn import ENDLESS, LONGEST_REPLY_CHARACTERS, PIECES_HELD
from discordplex.config import CascadeConfig
from discordplex.engine import Audio, Closed, EngineReady, Interrupted, PlaybackHeld, PlaybackResumed, Problem, Text
from discordplex.errors import EngineError, LocalProtocolError
from discordplex.loopback import timeouts
from discordplex.loopback.clock import FakeClock, settle
from discordplex.loopback.openai.faults import RequestFault, Service
from discordplex.loopback.openai.log import ClientHungUp, RequestReceived, ResponseSent
from discordplex.loopback.openai.server import StandInOpenAI, in_turn
from discordplex.metrics import Metrics
from discordplex.tracing import END_REASON, ERROR_TYPE, FIRST_CHUNK, MODEL, OPERATION, OUTPUT_TYPE, PROVIDER, TURN
from tests.cascade.conftest import config_of
from tests.cascade.harness import ANNA, BEN, NAMES, PERSONA, calling
from tests.cascade.services import HASTY_S
from tests.hearing.speech import clip, frames_of, noisy, pause, sentences
from tests.traced import recorded

LONG_REPLY = "Well, let me tell you a long story. " + " ".join(f"This is sentence number {n} of it." for n in "abcdefgh")


def chats(server: StandInOpenAI) -> list[list[dict[str, str]]]:
    """The conversations that the chat model was shown."""
    return [list(asked.body["messages"]) for asked in server.log.of(RequestReceived) if asked.service == "think"]


def spoken_requests(server: StandInOpenAI) -> list[str]:
    """What the speech server was asked to say; two requests on their way at once may come in any order."""
    return [str(asked.body["input"]) for asked in server.log.of(RequestReceived) if asked.service == "speak"]


async def test_a_sentence_is_answered(server: StandInOpenAI, config: CascadeConfig) -> None:
    """A person speaks and pauses: what they said is text with their name's id, what comes back is text and sound of one item."""
    server.hears, server.replies = in_turn(["How are you?"]), in_turn(["I am fine. And you?"])
    async with calling(config) as call:
        await call.ask()
        await call.hear_out()
    assert call.events[0] == EngineReady()
    said = call.said[0]
    assert call.said == [Text("How are you?", role="person", speaker=ANNA, final=True, item=said.item, began_at=said.began_at)]
    assert said.began_at is not None
    (item,) = {text.item for text in call.spoken}
    assert call.words(item) == "I am fine. And you?"
    assert call.spoken[-1].final
    assert call.sound_ms(item) > 500
    assert sorted(spoken_requests(server)) == ["And you?", "I am fine."]
    assert chats(server) == [
        [{"role": "system", "content": f"You are a test.\n\n{SPOKEN_MANNERS}"}, {"role": "user", "content": "Anna: How are you?"}]
    ]


async def test_each_piece_s_text_comes_before_its_sound(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Captions can be shown with the sound that they belong to."""
    server.replies = in_turn(["I am fine. And you? Good."])
    async with calling(config) as call:
        await call.ask()
        await call.hear_out()
    kinds = [type(event) for event in call.events if isinstance(event, Audio) or (isinstance(event, Text) and event.role == "engine")]
    begun = [index for index, kind in enumerate(kinds) if kind is Text]
    assert len(begun) == 4
    assert begun[0] == 0
    assert all(kinds[index + 1] is Audio for index in begun[:-1])


async def test_one_turn_after_the_other(server: StandInOpenAI, config: CascadeConfig) -> None:
    """A conversation goes on by itself, and the model is told what was said so far."""
    server.hears, server.replies = in_turn(["One.", "Two."]), in_turn(["First.", "Second."])
    async with calling(config) as call:
        for replies in (1, 2):
            await call.ask(replies - 1)
            await call.hear_out(replies)
    assert [message["content"] for message in chats(server)[1][1:]] == ["Anna: One.", "First.", "Anna: Two."]


async def test_two_people_are_answered_in_the_order_in_which_they_ended(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Both get an answer of their own, and the model knows who is who."""
    server.hears, server.replies = in_turn(["Mine.", "And mine."]), in_turn(["Yours.", "And yours."])
    async with calling(config) as call:
        one, other = frames_of(sentences()[0] + pause(600)), frames_of(pause(100) + sentences()[2] + pause(600))
        for number in range(max(len(one), len(other))):
            spoken = {ANNA: one, BEN: other}
            await call.tick({speaker: frames[number] for speaker, frames in spoken.items() if number < len(frames)})
        await call.rest(300)
        await call.until(lambda call: len(call.spoken) >= 2)
        await call.hear_out(1)
        await call.hear_out(2)
    assert [text.speaker for text in call.said] == [ANNA, BEN]
    assert [message["content"] for message in chats(server)[-1][1:]] == ["Anna: Mine.", "Yours.", "Ben: And mine."]


async def test_noise_does_not_keep_a_turn_open(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Over a noisy microphone, 10 dB below the speech, each of the clip's three sentences is heard as one."""
    async with calling(config) as call:
        await call.say(noisy(clip(), 10) + pause(700))
        await call.until(lambda call: len(call.said) == 3)
    assert len([asked for asked in server.log.of(RequestReceived) if asked.service == "transcribe"]) == 3


async def test_the_first_words_do_not_wait_for_the_rest(server: StandInOpenAI) -> None:
    """While the model still writes, its first clause is spoken already."""
    server.replies = in_turn([LONG_REPLY])
    server.fail("think", RequestFault(stall_after=6))
    async with calling(config_of(server)) as call:
        await call.ask()
        await call.until(lambda call: call.of(Audio))
        assert spoken_requests(server) == ["Well, let me tell"]
        assert not [answered for answered in server.log.of(ResponseSent) if answered.service == "think"]


async def test_thoughts_and_markdown_are_not_spoken(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Only what a person would say aloud reaches the speech server."""
    server.replies = in_turn(["<think>He is **loud**.</think>**Hello** there! 🎉 See [this](http://x/y)."])
    async with calling(config) as call:
        await call.ask()
        await call.hear_out()
    assert sorted(spoken_requests(server)) == ["Hello there!", "See this."]


PLAN = "First I think about what they asked me, which was how I am. " * 8


async def test_thoughts_that_were_spoken_are_taken_back_once(
    server: StandInOpenAI, config: CascadeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closing mark without its opening comes too late for the first such reply: its sound is cut off, the answer is a reply of its own.

    History has the answer alone, and the next reply is held until its mark.
    """
    heard, reply_to = asyncio.Event(), ChatModel.reply_to

    async def slow(self: ChatModel, messages: Sequence[Mapping[str, str]]) -> AsyncIterator[str]:
        async for delta in reply_to(self, messages):
            if "<" in delta:
                await heard.wait()
            yield delta

    monkeypatch.setattr(ChatModel, "reply_to", slow)
    server.replies = in_turn([f"{PLAN}</think>I am fine.", f"{PLAN}</think>Of course.", "No thoughts. None."])
    async with calling(config) as call:
        await call.ask(0)
        await call.until(lambda call: call.of(Audio))
        heard.set()
        await call.hear_out()
        (cut,) = call.interrupted()
        answer = call.spoken[-1].item
        assert answer != cut
        assert call.words(answer) == "I am fine."
        assert call.sound_ms(answer) > 0
        before = len(call.events)
        for replies, said in enumerate(("Of course.", "No thoughts. None."), 2):
            await call.ask(replies - 1)
            await call.hear_out(replies)
            assert call.words(call.spoken[-1].item) == said
    assert not [event for event in call.events[before:] if isinstance(event, Interrupted)]
    assert not [text for text in call.spoken if "think" in text.text and text.item != cut]
    assert chats(server)[1][2]["content"] == "I am fine."
    assert call.problems() == []


async def test_a_model_that_talks_without_end_is_cut_with_a_sentence(server: StandInOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written within the bound is spoken, the request is ended, and people are told so once in a conversation."""
    monkeypatch.setattr(turn, "LONGEST_REPLY_CHARACTERS", 300)
    server.replies = in_turn(["So it goes on. " * 100])
    server.fail("think", *[RequestFault(stall_after=200)] * 2)
    async with calling(config_of(server)) as call:
        for replies in (1, 2):
            await call.ask(replies)
            await call.hear_out(replies)
        await server.log.wait_for(lambda log: [dropped.service for dropped in log.of(ClientHungUp)] == ["think"] * 2)
    for item in {text.item for text in call.spoken}:
        assert 280 < len(call.words(item)) <= 300
    assert call.problems() == [ENDLESS]


@pytest.mark.parametrize("size", [1, 100, 10**6])
async def test_much_text_at_once_leaves_the_loop_its_turns(config: CascadeConfig, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Whatever comes in one piece or without a pause: between two of the loop's steps a bounded number of characters is worked on."""
    worked_on, at_once, text, feed = 0, [0], "<b> `[ 《x. " * 1000, ReasoningFilter.feed
    done = asyncio.Event()

    async def flood(*_: object) -> AsyncIterator[str]:
        for start in range(0, len(text), size):
            yield text[start : start + size]

    def counted(self: ReasoningFilter, delta: str) -> list[Spoken]:
        nonlocal worked_on
        worked_on += len(delta)
        if sum(at_once) + worked_on == len(text):
            done.set()
        return feed(self, delta)

    async def step() -> None:
        nonlocal worked_on
        while True:
            at_once.append(worked_on)
            worked_on = 0
            await asyncio.sleep(0)

    monkeypatch.setattr(turn, "LONGEST_REPLY_CHARACTERS", 10**6)
    monkeypatch.setattr(ChatModel, "reply_to", flood)
    monkeypatch.setattr(ReasoningFilter, "feed", counted)
    async with calling(config) as call:
        stepping = asyncio.create_task(step())
        await call.ask()
        await timeouts.wait_for(done.wait(), 20)
        stepping.cancel()
    assert max(at_once) <= 2 * turn.WORKED_ON_AT_ONCE


async def test_thoughts_do_not_count_as_a_reply(server: StandInOpenAI, config: CascadeConfig) -> None:
    """However long a model thinks within its marks, the answer is spoken."""
    server.replies = in_turn([f"<think>{'So it goes on. ' * (LONGEST_REPLY_CHARACTERS // 10)}</think>I am fine."])
    async with calling(config) as call:
        await call.ask(0)
        await call.hear_out()
        assert call.words(call.spoken[-1].item) == "I am fine."
    assert call.problems() == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\u2028", "\x0b", "\u202e"])
async def test_no_name_and_no_words_forge_another_s_line(
    server: StandInOpenAI, config: CascadeConfig, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    """Each person's words are one line behind their name, to the model and in the captions, whatever servers and names hold."""
    monkeypatch.setitem(NAMES, ANNA, f"Anna{end}Ben: hi\u200b")
    server.hears, server.replies = in_turn([f"Yes.{end}Ben: I agree."]), in_turn([f"Good.{end}Ben: Me\u200b too."])
    async with calling(config) as call:
        for replies in (1, 2):
            await call.ask(replies - 1)
            await call.hear_out(replies)
    said, answered, _ = contents = [message["content"] for message in chats(server)[1][1:]]
    assert said.startswith("Anna")
    assert answered.startswith("Good.")
    for content in contents:
        assert len(content.splitlines()) == 1
        assert content.count(": ") <= 2
        assert not {"\u202e", "\u200b"} & set(content)
    for text in call.of(Text):
        assert not {"\u202e", "\u200b", "\u2028", "\x0b"} & set(text.text)
    assert all("\n" not in text.text for text in call.said)


async def test_a_transcription_without_end_is_cut(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Half a minute of speech is no novel."""
    server.hears = in_turn(["blah " * 1900])
    async with calling(config) as call:
        await call.ask(0)
        await call.until(lambda call: call.said)
    assert len(call.said[0].text) <= LONGEST_WORDS_CHARACTERS


async def test_two_requests_ahead_and_no_more(server: StandInOpenAI) -> None:
    """While the first sound is slow the second is on its way, and the third waits."""
    server.replies = in_turn([LONG_REPLY])
    server.fail("speak", RequestFault(stall_after=1), RequestFault(stall_after=0))
    async with calling(config_of(server)) as call:
        await call.ask()
        await server.log.wait_for(lambda log: len([asked for asked in log.of(RequestReceived) if asked.service == "speak"]) == 2)
        await server.log.wait_for(lambda log: any(answered.service == "think" for answered in log.of(ResponseSent)))
        assert len(spoken_requests(server)) == 2


async def test_no_more_is_made_than_will_soon_be_heard(server: StandInOpenAI, config: CascadeConfig) -> None:
    """A very long reply is fetched as it is heard, not all at once."""
    server.replies = in_turn(
        [" ".join(["This is a very long sentence with a great number of vowels in every one of its many words."] * 30)]
    )
    async with calling(config) as call:
        await call.ask()
        await call.until(lambda call: call.spoken and call.sound_ms(call.spoken[0].item) > 20_000)
        for _ in range(100):
            await settle()
        asked = len(spoken_requests(server))
        assert asked < 10
        await call.clock.advance(10)
        await server.log.wait_for(lambda _: len(spoken_requests(server)) > asked)


async def test_a_cough_holds_the_voice_and_nothing_is_lost(server: StandInOpenAI, config: CascadeConfig) -> None:
    """What turns out to be no words stops the sound for a moment; the reply goes on, and nobody is asked to answer it."""
    server.replies = in_turn([LONG_REPLY])
    async with calling(config) as call:
        await call.ask()
        await call.until(lambda call: any(text.final for text in call.spoken))
        await call.say(sentences()[0][: len(frames_of(pause(380))) * 1920], until=lambda call: call.of(PlaybackHeld))
        assert call.of(PlaybackHeld)
        assert not call.of(Interrupted)
        await call.rest(800)
        assert call.of(PlaybackResumed)
        assert call.interrupted() == []
        assert len(call.said) == 1
        await call.hear_out()
        await call.ask(1)
        await call.until(lambda _: len(chats(server)) == 2)
    assert chats(server)[1][2]["content"] == LONG_REPLY


async def test_an_interruption_cuts_and_is_answered(server: StandInOpenAI) -> None:
    """Who goes on speaking stops the voice, the requests at the server, and is answered; history has what was heard, to the word."""
    server.replies = in_turn([LONG_REPLY, "All right."])
    server.fail("speak", RequestFault(), RequestFault(), RequestFault(stall_after=1), RequestFault(stall_after=0))
    async with calling(config_of(server)) as call:
        await call.ask()
        await server.log.wait_for(lambda _: len(spoken_requests(server)) == 4)
        item = call.spoken[0].item
        await call.say(sentences()[1], until=lambda call: call.of(PlaybackHeld))
        await call.say(sentences()[1][len(sentences()[1]) // 3 :] + sentences()[1], until=lambda call: call.of(Interrupted))
        assert call.interrupted() == [item]
        await call.engine.interrupt(item, 2500)
        await server.log.wait_for(lambda log: len([one for one in log.of(ClientHungUp) if one.service == "speak"]) == 2)
        await call.rest(700)
        await call.until(lambda call: any(text.final and text.item != item for text in call.spoken))
    cut_at = call.events.index(call.of(Interrupted)[0])
    assert not [event for event in call.events[cut_at:] if isinstance(event, Audio) and event.item == item]
    told = chats(server)[1]
    assert told[2]["role"] == "assistant"
    assert told[2]["content"].endswith(BROKEN_OFF)
    assert LONG_REPLY.startswith(told[2]["content"].removesuffix(BROKEN_OFF))
    assert told[3]["content"].startswith("Anna: ")


async def test_who_goes_on_before_the_answer_is_answered_once(server: StandInOpenAI) -> None:
    """A person who had only paused gets one answer, to both sentences; the request for the first is given up at the server."""
    server.hears, server.replies = in_turn(["Tell me.", "Please."]), in_turn(["Gladly."])
    server.fail("think", RequestFault(stall_after=0))
    async with calling(config_of(server)) as call:
        await call.ask(0)
        await server.log.wait_for(lambda _: len(chats(server)) == 1)
        await call.ask(1)
        await call.hear_out()
    assert [dropped.service for dropped in server.log.of(ClientHungUp)] == ["think"]
    assert chats(server)[1][1:] == [{"role": "user", "content": "Anna: Tell me.\nAnna: Please."}]
    assert len({text.item for text in call.spoken}) == 1


async def test_an_answer_waits_for_who_still_speaks(server: StandInOpenAI, config: CascadeConfig) -> None:
    """A reply that is ready while somebody else speaks is held until they have finished, and then both are answered."""
    server.replies = in_turn(["Yours.", "And yours."])
    async with calling(config) as call:
        await call.say(sentences()[0], ANNA)
        for number, frame in enumerate(frames_of(sentences()[2] + sentences()[1])):
            await call.tick({BEN: frame})
            if number == 60:
                await call.until(lambda call: call.of(PlaybackHeld))
        assert not call.of(PlaybackResumed)
        assert call.interrupted() == []
        await call.rest(700)
        await call.until(lambda call: call.of(PlaybackResumed))
        await call.hear_out(1)
        await call.hear_out(2)
    assert [text.speaker for text in call.said] == [ANNA, BEN]


async def test_stopping_it_by_hand(server: StandInOpenAI) -> None:
    """The call's side may silence it too: requests end, nothing more of that reply comes, and the next sentence is answered."""
    server.replies = in_turn([LONG_REPLY, "Yes?"])
    server.fail("speak", RequestFault(), RequestFault(stall_after=1))
    async with calling(config_of(server)) as call:
        await call.ask()
        await server.log.wait_for(lambda _: len(spoken_requests(server)) >= 2)
        await call.until(lambda call: call.of(Audio))
        item = call.spoken[0].item
        await call.engine.interrupt(item, 900)
        await server.log.wait_for(lambda log: log.of(ClientHungUp))
        before = len(call.events)
        await call.ask(1)
        await call.hear_out()
        assert not [event for event in call.events[before:] if isinstance(event, Audio | Text) and event.item == item]
        await call.engine.interrupt()
        await call.engine.interrupt("reply-99", 5)
    assert call.interrupted() == []
    assert chats(server)[1][2]["content"].endswith(BROKEN_OFF)


STAGE_FAULTS = [
    ("transcribe", RequestFault(status=401), "The transcription failed"),
    ("transcribe", RequestFault(empty=True), "The transcription found no words"),
    ("transcribe", RequestFault(stall_after=0), "The transcription failed"),
    ("think", RequestFault(status=404), "The chat model failed"),
    ("think", RequestFault(html=True), "The chat model failed"),
    ("think", RequestFault(stall_after=1), "The chat model failed"),
    ("think", RequestFault(cut_after=3), "The chat model failed"),
    ("think", RequestFault(empty=True), "The chat model failed"),
    ("speak", RequestFault(status=404, code="model_shut_down"), "The speech synthesis failed"),
    ("speak", RequestFault(status=429, retry_after_s=60), "The speech synthesis failed"),
    ("speak", RequestFault(stall_after=1), "The speech synthesis failed"),
    ("speak", RequestFault(status=500), "The speech synthesis failed"),
]


@pytest.mark.parametrize(("service", "fault", "words"), STAGE_FAULTS)
async def test_after_each_failure_the_next_turn_works(server: StandInOpenAI, service: Service, fault: RequestFault, words: str) -> None:
    """One plain sentence, and the conversation goes on."""
    config = config_of(server) if fault.stall_after is None else config_of(server, HASTY_S)
    server.replies = in_turn(["I am fine. And you?"])
    server.fail(service, fault)
    async with calling(config) as call:
        await call.ask(0)
        await call.until(lambda call: call.of(Problem))
        await call.clock.advance(10)
        await call.ask(1)
        await call.until(
            lambda call: any(text.final for text in call.spoken if text.item == call.spoken[-1].item and call.sound_ms(text.item))
        )
    assert len(call.problems()) == 1
    assert call.problems()[0].startswith(words)
    assert call.of(Problem)[0].service == service
    assert not call.of(Closed)


async def test_a_failure_within_a_reply_keeps_what_was_said(server: StandInOpenAI, config: CascadeConfig) -> None:
    """When the second sentence's sound fails the first stands, and the model is told so."""
    server.replies = in_turn(["First one. Second one. Third one."])
    server.fail("speak", RequestFault(status=500, only="Second"))
    async with calling(config) as call:
        await call.ask(0)
        await call.hear_out()
        await call.ask(1)
        await call.until(lambda _: len(chats(server)) == 2)
    assert chats(server)[1][2]["content"] == "First one."
    assert len(call.problems()) == 1


async def test_too_much_at_once_is_dropped_and_said(server: StandInOpenAI) -> None:
    """Beyond the bound the oldest are skipped, people are told once, and the newest are answered."""
    server.fail("transcribe", RequestFault(stall_after=0))
    async with calling(config_of(server)) as call:
        for _ in range(MOST_WAITING + 4):
            await call.ask(0)
        await call.until(lambda call: call.of(Problem))
        assert call.problems() == [TOO_MUCH]
        assert call.metrics.counter("cascade.dropped").value == 3


async def test_much_sound_at_once_is_dropped_too(server: StandInOpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few long utterances count as many short ones: by their bytes."""
    monkeypatch.setattr(dialogue, "MOST_WAITING_BYTES", 100_000)
    server.fail("transcribe", RequestFault(stall_after=0))
    async with calling(config_of(server)) as call:
        for _ in range(4):
            await call.ask(1)
            assert call.engine._dialogue is not None
            assert call.engine._dialogue._waiting_bytes <= 100_000
        await call.until(lambda call: call.of(Problem))
        assert call.problems() == [TOO_MUCH]


async def test_sound_does_not_pile_up_behind_a_piece_that_stalls(server: StandInOpenAI) -> None:
    """While the first piece's sound is awaited the next two are made, and no more."""
    server.replies = in_turn([LONG_REPLY])
    server.fail("speak", RequestFault(stall_after=1, only="Well,"))
    async with calling(config_of(server)) as call:
        await call.ask()
        await server.log.wait_for(lambda log: len([one for one in log.of(ResponseSent) if one.service == "speak"]) == PIECES_HELD - 1)
        for _ in range(50):
            await settle()
        assert len(spoken_requests(server)) == PIECES_HELD


async def test_history_is_bounded_and_can_be_forgotten(server: StandInOpenAI, config: CascadeConfig) -> None:
    """The oldest turns are forgotten beyond the tokens; after a reset the model knows nothing, not even what is being said."""
    small = config.model_copy(update={"history_tokens": 30})
    server.hears, server.replies = in_turn([f"Question number {n}?" for n in range(9)]), in_turn(["A fine answer."])
    async with calling(small) as call:
        for replies in range(1, 5):
            await call.ask(0)
            await call.hear_out(replies)
        assert len(chats(server)[3]) < 6
        await call.ask(0)
        await call.until(lambda call: sum(text.final for text in call.spoken) == 5)
        call.lease.reset()
        await call.clock.advance(30)
        await call.ask(0)
        await call.until(lambda _: len(chats(server)) == 6)
    assert chats(server)[5][1:] == [{"role": "user", "content": "Anna: Question number 5?"}]


async def test_what_was_said_outlives_an_engine(server: StandInOpenAI, config: CascadeConfig) -> None:
    """An engine that is opened again on the same lease remembers, another lease does not."""
    clock = FakeClock()
    provider = CascadeProvider(config, clock=clock)
    async with calling(config, provider, clock) as call:
        await call.ask()
        await call.hear_out()
        lease = call.lease
    async with calling(config, provider, clock) as call:
        await call.ask()
        await call.hear_out()
    assert len(chats(server)[1]) == 2
    engine = lease.open(PERSONA, call.metrics)
    with pytest.raises(LocalProtocolError):
        async with engine:
            lease.open(PERSONA, call.metrics)


async def test_two_calls_at_once_know_nothing_of_each_other(server: StandInOpenAI, config: CascadeConfig) -> None:
    """Each call has its own history."""
    clock = FakeClock()
    provider = CascadeProvider(config, clock=clock)
    async with calling(config, provider, clock) as one, calling(config, provider, clock) as other:
        await asyncio.gather(one.ask(0), other.ask(1))
        await asyncio.gather(one.hear_out(), other.hear_out())
        await one.ask(0)
        await one.hear_out(2)
    assert sorted(len(chat) for chat in chats(server)) == [2, 2, 4]


async def test_leaving_ends_every_request(server: StandInOpenAI) -> None:
    """A call that ends while a reply is being made leaves nothing behind at the server, and says that it closed."""
    server.fail("think", RequestFault(stall_after=1))
    async with calling(config_of(server)) as call:
        await call.ask()
        await server.log.wait_for(lambda _: chats(server))
        engine = call.engine
    await server.log.wait_for(lambda log: log.of(ClientHungUp))
    rest = [event async for event in engine.events()]
    assert isinstance(rest[-1], Closed)
    engine.push({ANNA: frames_of(pause(20))[0]})
    await engine.__aexit__(None, None, None)


async def test_a_bug_ends_the_engine_aloud(config: CascadeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks within, in the speech_input or behind them, is one Problem and a Closed that may be tried again, never silence."""
    for place in ("discordplex.hearing.speech_input.SpeechInput.push", "discordplex.cascade.dialogue.Dialogue._answer"):

        def broken(*_: object) -> None:
            raise ZeroDivisionError

        async with calling(config) as call:
            with monkeypatch.context() as patch:
                patch.setattr(place, broken)
                await call.ask()
                await call.until(lambda call: call.of(Closed))
        assert call.events[-2:] == [Problem(INTERNAL), Closed(INTERNAL, retry=True, cause="internal")]


async def test_a_missing_extra_refuses_the_call(config: CascadeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that vanished since the start are one sentence, and there is no use in trying again."""
    lease = CascadeProvider(config, clock=FakeClock()).acquire()
    assert lease is not None
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EngineError, match=r"discordplex\[cascade\]") as caught:
        await lease.open(PERSONA, Metrics()).__aenter__()
    assert not caught.value.retry


async def test_words_tell_when_they_were_said(config: CascadeConfig) -> None:
    """Not when they were transcribed: whoever publishes them has to know what was said before people were told of it."""
    async with calling(config) as call:
        await call.rest(1000)
        began_at = call.clock.now()
        await call.ask(0)
        await call.until(lambda call: call.said)
        assert began_at - 0.4 < (call.said[0].began_at or 0) < began_at + 0.4


# Traces


async def test_a_turn_is_a_span_with_its_stages(server: StandInOpenAI, config: CascadeConfig) -> None:
    """From the end of what was said until the answer was heard; no word and no name is in it, and no address."""
    server.hears, server.replies = in_turn(["How are you?"]), in_turn(["I am fine. And you?"])
    async with recorded() as found:
        async with calling(config, span=found.root) as call:
            await call.ask()
            await call.hear_out()
        assert sorted(found.paths()) == [
            TURN,
            f"{TURN} > chat {config.think.model}",
            f"{TURN} > speech_to_text {config.transcribe.model}",
            *[f"{TURN} > text_to_speech {config.speak.model}"] * 2,
        ]
        (turn,) = found.named(TURN)
        assert dict(turn.attributes) == {OPERATION: TURN, END_REASON: "completed"}
        (chat,) = found.named("chat")
        assert {name: chat.attributes[name] for name in (OPERATION, PROVIDER, MODEL)} == {
            OPERATION: "chat",
            PROVIDER: "openai",
            MODEL: config.think.model,
        }
        assert chat.attributes[FIRST_CHUNK] > 0
        assert {span.attributes[OUTPUT_TYPE] for span in found.named("text_to_speech")} == {"speech"}
        sent = "".join(span.to_json() for span in found.spans)
        assert not [word for word in ("How are", "fine", "Anna", config.base_url) if word in sent]


async def test_a_turn_that_is_cut_off_is_interrupted(server: StandInOpenAI, config: CascadeConfig) -> None:
    """So is one that waits when people stop the bot; one whose conversation ends is closed with it."""
    server.replies = in_turn([LONG_REPLY])
    async with recorded() as found:
        async with calling(config, span=found.root) as call:
            await call.ask()
            await call.until(lambda call: call.spoken)
            await call.engine.interrupt(call.spoken[0].item, 10)
            await settle()
            await call.ask(1)
            await call.until(lambda call: len({text.item for text in call.spoken}) == 2)
        assert [span.attributes[END_REASON] for span in found.named(TURN)] == ["interrupted", "session_closed"]


@pytest.mark.parametrize(("service", "stage"), [("transcribe", "speech_to_text"), ("think", "chat"), ("speak", "text_to_speech")])
async def test_a_turn_that_fails_has_the_code_of_its_service(
    server: StandInOpenAI, config: CascadeConfig, service: Service, stage: str
) -> None:
    """On the stage that failed, and on the turn."""
    server.fail(service, *[RequestFault(status=401)] * 4)
    async with recorded() as found:
        async with calling(config, span=found.root) as call:
            await call.ask()
            await call.until(lambda call: call.problems())
            await call.clock.advance(60)
            await settle()
        (turn,) = found.named(TURN)
        assert turn.attributes[ERROR_TYPE] == found.named(stage)[0].attributes[ERROR_TYPE] == "HTTP 401"


async def test_what_is_dropped_ends_its_turn(server: StandInOpenAI, config: CascadeConfig) -> None:
    """By an opt-out, by /stop, or because too much waits: every turn that began is sent."""
    server.fail("transcribe", RequestFault(stall_after=0))
    async with recorded() as found, calling(config, span=found.root) as call:
        for speaker in (ANNA, BEN, ANNA):
            await call.ask(speaker=speaker)
        await call.engine.forget(BEN)
        assert [span.attributes[END_REASON] for span in found.named(TURN)] == ["interrupted"]
        await call.engine.pause()
        assert [span.attributes[END_REASON] for span in found.named(TURN)] == ["interrupted"] * 3
