"""What the bot says about people's words is what it does with them, and it does nothing before people were told."""

import itertools
from dataclasses import replace
from typing import Any, cast

import discord
import pytest
from structlog.testing import capture_logs

from discordplex.bot import texts
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bot.texts.privacy import about_words
from discordplex.bridge.events import Caption
from discordplex.engine import Text
from discordplex.loopback.clock import FakeClock
from discordplex.store.records import CaptionsSetting, Owner
from tests.bot.chat.test_poster import refusal
from tests.bot.fakes import FakeChannel
from tests.bot.hall import ANNA, BERT, CARA, CHAT, TalkingLease, hall

WORDS, REPLY = "I had a secret.", "Tell me more."

WHO = ["the engine", "the ears", "nobody"]
EVERYTHING = list(itertools.product(WHO, [True, False], ["voice", "channel", "off"], [True, False]))
"""Who transcribes what people say, and the settings."""


@pytest.mark.parametrize(("who", "transcripts", "captions", "published"), EVERYTHING)
async def test_what_is_said_is_what_is_done(clock: FakeClock, *, who: str, transcripts: bool, captions: str, published: bool) -> None:
    """Every engine, with transcripts, captions and people's words on and off: each sentence is held against all that was written."""
    transcribes = who != "nobody"
    async with hall(clock, transcribes=who == "the engine", ears=who == "the ears") as it:
        await it.captions(captions)
        await it.switch(transcripts=transcripts, captions_of_people=published)
        said = [text for text in (*it.chat.texts, *it.square.texts) if "I am listening in" in text]
        if transcribes:
            await it.says(WORDS, ANNA)
        await it.says(REPLY)
        kept = await it.kept()
        written = any(WORDS.rstrip(".") in text for text in it.posted)
        stored = any(WORDS in text for _, text in kept)
        told = said[-1] if said else ""
        assert ("nothing of it is kept" in told) == (bool(told) and not written and not stored)
        assert ("your words are written into" in told) == written
        assert ("a transcript is kept" in told) == bool(kept)
        assert ("is transcribed by a transcription service (whisper-1)" in told) == (who == "the ears")
        assert stored == (transcripts and transcribes)
        assert written == (published and transcribes and captions != "off")
        assert bool(kept) == transcripts
        assert ("this channel, where Discord keeps them" in told) == written
        privacy = about_words(it.call.recording_policy)
        assert ("nothing of it is kept" in privacy) == (not written and not stored)
        assert ("your words are written into" in privacy) == written
        assert ("a transcript is kept" in privacy) == bool(kept)
        assert ("is transcribed by" in privacy) == (who == "the ears")
        assert len(said) <= 1, "one notice tells what holds now"


@pytest.mark.parametrize(("transcribes", "transcripts", "published", "opt_outs_unknown"), [*itertools.product([True, False], repeat=4)])
def test_sentences_come_from_the_policy(*, transcribes: bool, transcripts: bool, published: bool, opt_outs_unknown: bool) -> None:
    """Each sentence stands exactly where what it says is so; while nobody knows who opted out nothing is kept or published."""
    rules = GuildRules(transcripts=transcripts, captions_of_people=published, opt_outs_unknown=opt_outs_unknown)
    policy = RecordingPolicy.of(rules, engine="PersonaPlex", transcribes=transcribes, captions_in=5)
    words = texts.calls.use_of_speech(policy, 5)
    assert ("your words are written into this channel" in words) == (published and transcribes and not opt_outs_unknown)
    assert ("a transcript is kept" in words) == (transcripts and not opt_outs_unknown)
    people = policy.keeps_people or policy.published_in is not None
    assert ("nothing of it is kept" in words) == (not people)
    assert ("a transcript is kept of what I say" in words) == (transcripts and not transcribes and not opt_outs_unknown)


async def test_the_ears_hear_nobody_before_people_know_who_transcribes(clock: FakeClock) -> None:
    """Also without captions of people and transcripts: the notice comes first, and where it is gone they hear nobody."""
    async with hall(clock, transcribes=False, ears=True) as it:
        assert it.ears is not None
        (notice,) = it.chat.messages
        told = notice.texts.index(next(text for text in notice.texts if "is transcribed by" in text))
        assert told == 0, "the first text of the notice says it"
        assert it.ears.allowed()
        it.chat.faults = [OSError()] * 3
        it.notices.deleted(CHAT, [notice.id])
        assert not it.ears.allowed()
        await clock.advance(10)
        assert it.ears.allowed()
        assert "is transcribed by" in it.chat.texts[-1]


async def test_the_ears_hear_nobody_while_people_cannot_be_told(clock: FakeClock) -> None:
    """Somebody in the call can see neither channel: the notice says that nothing is kept, and nothing is sent anywhere else."""
    async with hall(clock, transcribes=False, ears=True) as it:
        assert it.ears is not None
        it.chat.hidden_from = it.square.hidden_from = frozenset({BERT})
        it.call._disclosure.look_again()
        await clock.advance(3)
        assert not it.ears.allowed()
        assert "is transcribed by" not in it.greeting()


@pytest.mark.parametrize("words", [True, False])
async def test_a_call_is_summed_up_for_the_engine_only_where_people_know(clock: FakeClock, *, words: bool) -> None:
    """With people's words in it; what the engine said alone may always be."""
    async with hall(clock, transcribes=words) as it:
        disclosure = it.call._disclosure
        assert disclosure.allows_summary(words) != words, "nobody was told of a chat model"
        it.call.state.recap_model = "a chat model (gpt-6-luna)"
        it.call._announcer.greet()
        assert disclosure.allows_summary(words) != words, "people are told first"
        await clock.advance(3)
        assert disclosure.allows_summary(words)
        assert ("is summed up for the engine by a chat model" in it.greeting()) == words
        it.chat.hidden_from = it.square.hidden_from = frozenset({BERT})
        disclosure.look_again()
        await clock.advance(3)
        assert disclosure.allows_summary(words) != words
        assert not disclosure.allows_summary(True), "an engine of another kind wrote them down before"


def test_while_opt_outs_are_unknown_the_ears_hear_nobody() -> None:
    """Nobody may be transcribed who may have asked not to be heard."""
    policy = RecordingPolicy.of(GuildRules(opt_outs_unknown=True), engine="", transcribes=False, captions_in=5, ears="Whisper")
    assert not policy.transcribed_by
    assert not policy.has_words


async def test_an_engine_that_transcribes_needs_no_ears(clock: FakeClock) -> None:
    """They hear exactly while the present engine does not write down what people say."""
    async with hall(clock, transcribes=False, ears=True) as it:
        assert it.ears is not None
        it.call.state.transcribes = True
        it.call._announcer.greet()
        assert not it.ears.allowed()
        await clock.advance(3)
        assert "is transcribed by" not in it.greeting()
        it.call.state.transcribes = False
        it.call._announcer.greet()
        assert not it.ears.allowed(), "people are told first"
        await clock.advance(3)
        assert it.ears.allowed()


async def test_switching_on_in_a_call_notifies_people(clock: FakeClock) -> None:
    """A new message with the buttons comes before the first word is kept; the old one does not go on saying that nothing is."""
    async with hall(clock) as it:
        await it.says("before", ANNA)
        await it.switch(transcripts=True)
        first, second = it.chat.messages
        assert first.text == texts.calls.CONTINUED
        assert "a transcript is kept" in second.texts[0]
        assert second.view is not None
        await it.says("while", ANNA)
        await it.switch(transcripts=False)
        assert "nothing of it is kept" in second.text
        await it.says("after", ANNA)
        assert await it.kept() == [(ANNA, "while")]
        await it.switch(captions_of_people=True)
        assert "your words are written into this channel" in it.chat.messages[-1].texts[0]
        await it.says("shown", ANNA)
        assert it.chat.texts[-1] == "Person 100: shown"


async def test_notices_that_go_elsewhere_do_not_say_that_the_call_does(clock: FakeClock) -> None:
    """The channel for captions is another one from now on, and the bot listens where it did."""
    async with hall(clock) as it:
        await it.captions("channel")
        assert it.chat.texts == [texts.calls.CONTINUED]
        assert "I am listening" in it.square.texts[-1]


async def test_nothing_is_kept_before_the_notice_is_there(clock: FakeClock) -> None:
    """Discord is slow: what is said until it has taken the message is neither kept nor shown, not even its end."""
    async with hall(clock) as it:
        it.chat.faults = [OSError()]
        await it.preferences.change_guild(1, lambda now: now.__class__(1, transcripts=True, captions_of_people=True))
        it.engine.does(Text("too early", role="person", speaker=ANNA, item="a"))
        await clock.advance(0.3)
        assert it.call._disclosure.in_force is None
        await clock.advance(1.5)
        await it.says(" and its end", ANNA, item="a")
        await it.says("in time", ANNA, item="b")
        assert [text for _, text in await it.kept()] == ["in time"]
        assert not any("too early" in text for text in it.posted)


async def test_who_was_speaking_when_people_were_told_is_taken_from_the_next_stretch_on(clock: FakeClock) -> None:
    """The words of an utterance come when it has ended: one that began before the notice is not kept."""
    async with hall(clock) as it:
        it.call._disclosure._speaking = lambda: {ANNA}
        await it.switch(transcripts=True)
        await it.says("began before", ANNA)
        await it.says("I did not speak", BERT)
        await it.says("began after", ANNA)
        assert await it.kept() == [(BERT, "I did not speak"), (ANNA, "began after")]


@pytest.mark.parametrize("told", ["for the first time", "again, for somebody who came"])
async def test_words_that_come_late_from_a_slow_server_were_said_before_people_were_told(clock: FakeClock, told: str) -> None:
    """Nobody speaks when the notice comes, and what was said before it is still being transcribed."""
    async with hall(clock) as it:
        if told == "for the first time":
            began_at = clock.now()
            await it.switch(transcripts=True, captions_of_people=True)
        else:
            await it.switch(transcripts=True, captions_of_people=True)
            it.voice_channel.people, it.voice_channel.amnesic = frozenset({ANNA, BERT, CARA}), frozenset({CARA})
            it.call.refresh()
            began_at = clock.now()
            await clock.advance(2.5)
        it.engine.does(Text("said before", role="person", speaker=ANNA, final=True, began_at=began_at))
        it.engine.does(Text("said after", role="person", speaker=ANNA, final=True, began_at=clock.now()))
        await clock.advance(2.5)
        assert await it.kept() == [(ANNA, "said after")]
        assert not any("said before" in text for text in it.posted)
        assert it.chat.texts[-1] == "Person 100: said after"


@pytest.mark.parametrize("where", ["off", "channel"])
async def test_people_are_told_where_they_can_see_it(clock: FakeClock, where: str) -> None:
    """With captions off, or in a channel that somebody in the call cannot see, the notice goes into the voice channel's own chat."""
    async with hall(clock) as it:
        it.square.hidden_from = frozenset({BERT})
        await it.captions(where)
        await it.switch(transcripts=True)
        assert "a transcript is kept" in it.greeting(it.chat)
        assert not any("a transcript is kept" in text for text in it.square.texts)
        await it.says(WORDS, ANNA)
        assert await it.kept() == [(ANNA, WORDS)]


async def test_a_captions_channel_that_all_can_see_is_enough(clock: FakeClock) -> None:
    """And then nothing is written elsewhere."""
    async with hall(clock) as it:
        await it.captions("channel")
        before = len(it.chat.messages)
        await it.switch(captions_of_people=True)
        assert "your words are written into this channel" in it.greeting(it.square)
        await it.says(WORDS, ANNA)
        assert it.square.texts[-1] == f"Person 100: {WORDS}"
        assert len(it.chat.messages) == before


@pytest.mark.parametrize("obstacle", ["nobody may write", "forbidden", "somebody cannot see it"])
async def test_where_people_cannot_be_told_nothing_is_kept(clock: FakeClock, obstacle: str) -> None:
    """And the admin learns it, in the log and once in the server's channel. The notices that are there say so too."""
    async with hall(clock) as it:
        it.voice_channel.spare = it.square
        if obstacle == "nobody may write":
            await it.captions("off")
            it.voice_channel.chat = None
        elif obstacle == "somebody cannot see it":
            it.voice_channel.blind = frozenset({BERT})
        else:
            it.chat.faults = [refusal(discord.Forbidden, 403)] * 50
        await it.switch(transcripts=True, captions_of_people=True)
        assert not await it.call.disclosed()
        with capture_logs() as lines:
            it.call.show_status("listening")
            it.call.show_status("listening")
        assert [line["cause"] for line in lines if line["event"] == "nothing recorded"] == ["people cannot be told"]
        await it.says(WORDS, ANNA)
        assert it.square.texts.count(texts.settings.FOR_ADMINS) == 1
        assert await it.kept() == []
        assert not any(WORDS in text for text in it.posted)
        assert not any("a transcript is kept" in text for text in it.chat.texts)
        if obstacle == "somebody cannot see it":
            it.voice_channel.blind = frozenset()
            it.call.refresh()
            await clock.advance(5)
            assert await it.call.disclosed()
            await it.says(WORDS, ANNA)
            assert await it.kept() == [(ANNA, WORDS)]


async def test_who_comes_later_can_see_it(clock: FakeClock) -> None:
    """One who can read back needs no new message; for one who cannot there is one, and until it is there nothing is kept."""
    async with hall(clock) as it:
        await it.switch(transcripts=True)
        count = len(it.chat.messages)
        it.voice_channel.people |= {CARA}
        it.call.refresh()
        await it.says("Cara has read it", CARA)
        assert len(it.chat.messages) == count
        it.voice_channel.amnesic = frozenset({400})
        it.voice_channel.people |= {400}
        it.call.refresh()
        assert it.call._disclosure.in_force is None
        await clock.advance(3)
        assert "a transcript is kept" in it.chat.messages[-1].text
        assert len(it.chat.messages) == count + 1
        await it.says("all know", 400)
        assert [text for _, text in await it.kept()] == ["Cara has read it", "all know"]


async def test_a_notice_that_is_deleted_is_said_again(clock: FakeClock) -> None:
    """Not for ever: a moderator who deletes each ends the record, and people are told of that once."""
    async with hall(clock) as it:
        await it.switch(transcripts=True)
        it.chat.faults = [refusal(discord.NotFound, 404)]
        it.call._announcer.code_is("12345")
        await clock.advance(3)
        assert "a transcript is kept" in it.chat.messages[-1].texts[0]
        for number in range(60):
            it.chat.faults = [refusal(discord.NotFound, 404)]
            it.call._announcer.code_is(str(number))
            await clock.advance(3)
        assert len([text for message in it.chat.messages for text in message.texts if "a transcript is kept" in text]) < 45
        await it.says("unseen", ANNA)
        assert await it.kept() == []
        assert it.posted.count(texts.calls.END_OF_RECORD) == 1
        assert it.chat.texts.count(texts.calls.END_OF_RECORD) == 1


@pytest.mark.parametrize("when", ["after a while", "before Discord answers the write", "while an edit is under way"])
async def test_a_deleted_notice_ends_the_record_until_a_new_one_is_there(clock: FakeClock, when: str) -> None:
    """From the moment that Discord tells of the deletion nothing is kept or published; the new message has the buttons too."""
    async with hall(clock) as it:
        if when == "before Discord answers the write":
            await it.preferences.change_guild(1, lambda now: now.__class__(1, transcripts=True, captions_of_people=True))
            it.chat.meanwhile = lambda: it.notices.deleted(it.chat.id, {it.chat.next_id})
            await clock.advance(2.5)
            it.chat.meanwhile = lambda: None
            assert it.call._disclosure.in_force is None
        else:
            await it.switch(transcripts=True, captions_of_people=True)
            await it.says("before", ANNA)
            notice = next(message for message in it.chat.messages if "a transcript is kept" in message.text)
            if when == "while an edit is under way":
                notice.meanwhile = lambda: it.notices.deleted(it.chat.id, {notice.id})
                it.call._announcer.code_is("12345")
                await clock.advance(0.1)
            else:
                it.chat.faults = [OSError()]  # the new one comes a second later
                it.notices.deleted(it.chat.id, {10**6, notice.id})
            count = len(notice.texts)
        assert it.call._disclosure.in_force is None
        it.engine.does(Text("unseen", role="person", speaker=ANNA, final=True))
        await clock.advance(4)
        again = next(message for message in reversed(it.chat.messages) if "a transcript is kept" in message.text)
        assert again.view is not None
        await it.says("after", ANNA)
        assert [text for _, text in await it.kept() if text != "before"] == ["after"]
        assert not any("unseen" in text for text in it.posted)
        if when != "before Discord answers the write":
            assert len(notice.texts) == count, "nobody edits what is deleted"


async def test_a_wish_reaches_what_is_not_written_yet(clock: FakeClock) -> None:
    """Captions in the queue, edits that wait, lines for the database: nothing more of theirs comes out, and others are not concerned."""
    async with hall(clock) as it:
        await it.switch(transcripts=True, captions_of_people=True)
        await it.says("I said this before", ANNA, final=False, item="a")
        assert await it.kept() == [(ANNA, "I said this before")]
        before = len(it.chat.writes)
        it.notices.caption(it.voice_channel, (1, 900), "Person 100: and this is pending", final=True, speaker=ANNA)
        it.notices.caption(it.voice_channel, (1, 901), "Person 200: others are shown", final=True, speaker=BERT)
        it.preferences.silence(ANNA)
        it.notices.drop_captions(speaker=ANNA)
        it.transcripts.forget(Owner("person", ANNA))
        await clock.advance(10)
        await it.says(" and went on", ANNA, item="a")
        assert len(it.chat.writes) == before + 1
        assert it.chat.texts[-1] == "Person 200: others are shown"
        assert await it.kept() == [(ANNA, "I said this before")]
        assert cast("TalkingLease", it.call._lease).forgotten == [ANNA]


@pytest.mark.parametrize("why", ["an admin switched it off", "captions are off", "somebody cannot see it"])
async def test_words_of_people_that_wait_are_not_written_once_the_notice_says_that_none_are(clock: FakeClock, why: str) -> None:
    """The writer is behind by some messages: from then on none of people's words come out; what the engine said does."""
    async with hall(clock) as it:
        await it.switch(captions_of_people=True)
        for number in range(6):
            it.engine.does(Text(f"{WORDS} {number}", role="person", speaker=ANNA, final=True, item=str(number)))
        await clock.advance(0.6)
        it.notices.caption(it.voice_channel, (1, 900), "the engine's", final=True)
        before = sum(WORDS in text for text in it.posted)
        if why == "somebody cannot see it":
            it.voice_channel.people, it.voice_channel.blind = it.voice_channel.people | {CARA}, frozenset({CARA})
            it.call.refresh()
        else:
            changes = {"captions": CaptionsSetting("off")} if why == "captions are off" else {"captions_of_people": False}
            await it.preferences.change_guild(1, lambda now: replace(now, **cast("Any", changes)))
        await clock.advance(10)
        assert before < 6
        assert sum(WORDS in text for text in it.posted) == before
        assert it.chat.texts[-1] == "the engine's"


async def test_stop_reaches_what_is_not_written_yet(clock: FakeClock) -> None:
    """What people said and nobody has read is dropped, and what is still transcribed is neither kept nor shown."""
    async with hall(clock) as it:
        await it.switch(transcripts=True, captions_of_people=True)
        it.notices.caption(it.voice_channel, (1, 900), "Person 100: pending", final=True, speaker=ANNA)
        it.transcripts.hear(it.call.state, Caption(900, "not saved yet", final=True, speaker=ANNA, role="person"))
        await it.call.pause("Bert")
        await it.says("still transcribed", ANNA)
        assert not any("pending" in text or "transcribed" in text for text in it.posted)
        assert await it.kept() == []


async def test_the_notice_ends_with_the_call(clock: FakeClock) -> None:
    """It says how long the call was, and nothing goes on saying that somebody listens."""
    async with hall(clock) as it:
        await it.switch(transcripts=True)
        await it.end()
        assert it.chat.texts == [texts.calls.CONTINUED, texts.calls.ended(180)]
        assert it.chat.texts[-1].startswith("The call has ended after 3 min")


async def test_the_notice_names_people_and_engine_and_no_server(clock: FakeClock) -> None:
    """The person for whom the bot came, unless the channel is read by people who cannot see who sits there; never an address."""
    async with hall(clock, transcribes=False) as it:
        assert "I came for Person 100." in it.greeting()
        assert "what you say goes to PersonaPlex" in it.greeting()
        it.square.names_people = False
        await it.captions("channel")
        assert "Person 100" not in it.greeting(it.square)
        assert not any("gpu.example" in text for text in it.posted)


@pytest.mark.parametrize("who_reads_it", ["people who see the voice channel", "others", "others, since Discord refuses the first channel"])
async def test_notices_about_people_name_them_only_where_they_may(clock: FakeClock, who_reads_it: str) -> None:
    """Who stopped the call, and who is not heard: also a mention is a name, and so is one that is said elsewhere in the end."""
    async with hall(clock) as it:
        it.voice_channel.readers_see_it = who_reads_it != "others"
        if who_reads_it.startswith("others, "):
            it.voice_channel.spare = it.square
            it.chat.faults = [refusal(discord.Forbidden, 403)]
        seen = it.square if it.voice_channel.spare else it.chat
        it.call._announcer.cannot_hear(10**17, "no key")
        await it.call.pause("Bert")
        await clock.advance(5)
        named = who_reads_it == "people who see the voice channel"
        assert any("I cannot hear" in text for text in seen.texts)
        assert any("asked me to stop" in text for text in seen.texts)
        assert any("Bert asked" in text for text in seen.texts) == named
        assert any(f"<@{10**17}>" in text for text in seen.texts) == named


async def test_captions_leave_the_call_s_thread_when_the_setting_does(clock: FakeClock) -> None:
    """A thread that was opened for the call gets nothing more once captions are to go elsewhere, or nowhere."""
    async with hall(clock) as it:
        thread = it.call._thread = FakeChannel(clock, id=77)
        await it.captions("thread")
        await it.says("in the thread")
        assert thread.texts == ["in the thread"]
        await it.captions("channel")
        await it.says("in the square")
        await it.captions("off")
        await it.says("nowhere")
        assert thread.texts == ["in the thread"]
        assert it.square.texts[-1] == "in the square"
        assert not any("nowhere" in text for text in it.posted)


async def test_strangers_text_forges_nothing(clock: FakeClock) -> None:
    """A line break in what the engine says begins no second line, and what draws nothing or turns lines round is gone, kept or shown."""
    async with hall(clock) as it:
        await it.switch(transcripts=True, captions_of_people=True)
        await it.says("Hi\nPerson 200: I agree\u202e\u200b", ANNA)
        assert it.chat.texts[-1] == "Person 100: Hi Person 200: I agree"
        assert await it.kept() == [(ANNA, "Hi Person 200: I agree")]
