"""Slash commands about the call, used on the loopback Discord: come, go, stop, go on, how it is."""

import functools

import pytest

from discordplex.audio.wav import read_wav
from discordplex.bot import texts
from discordplex.bot.chat import poster
from discordplex.bot.commands.personas import APPLY_ID
from discordplex.config import BotConfig
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.personaplex.log import AudioReceived, Connected, ConversationClosed
from tests.bot.street import Street
from tests.end_to_end.home import CLIP


async def test_join_and_leave_and_status(street: Street) -> None:
    """Each answers its caller alone, in words, also when there is nothing to do."""
    async with street.bot_running(street.config(bot=BotConfig(auto_join=False))):
        await street.commands_there()
        assert (await street.press("join")).content == texts.calls.NOT_IN_VOICE
        assert (await street.press("leave")).content == texts.calls.NOTHING_TO_LEAVE
        assert (await street.press("listen")).content == texts.calls.NOT_IN_VOICE
        assert (await street.press("stop")).content == texts.calls.NO_CALL
        assert (await street.press("latency")).content == texts.calls.NO_CALL
        assert (await street.press("queue")).content == texts.waiting.NOT_IN_QUEUE
        street.discord.enter(street.ada, street.lounge)
        assert "use `/join`" in (await street.press("status")).content
        joined = await street.press("join")
        assert joined.content == texts.calls.joined(int(street.lounge.id))
        assert joined.ephemeral
        await street.listens()
        street.discord.enter(street.ben, street.lounge)
        assert "with the voice **NATF0.pt**" in (await street.press("status", person=street.ben)).content
        assert (await street.press("leave", person=street.ben)).content == texts.calls.LEFT
        await street.says(street.lounge, "Ben asked me to leave")


async def test_every_answer_comes_or_is_announced_at_once(street: Street) -> None:
    """Discord gives a command three seconds; each of ours asks for time first."""
    async with street.bot_running():
        await street.commands_there()
        names = [command["name"] for command in street.discord.world.commands[street.bot.id, None] if not nested(command)]
        assert {"join", "leave", "listen", "stop", "voice", "status", "queue", "latency", "privacy"} <= set(names)
        for name in names:
            pressed = await street.press(name)
            assert pressed.deferred
            assert pressed.ephemeral
            assert pressed.content


def nested(command: dict[str, object]) -> bool:
    options = command.get("options") or []
    return any(option["type"] == 1 for option in options) if isinstance(options, list) else False


async def test_stop_and_listen(street: Street) -> None:
    """Stopped, the bot stays, the engine hears silence and goes on, nothing is played or written; then people are heard again."""
    speech = read_wav(CLIP)[:64_000]
    async with street.bot_running(), Person(street.discord, street.ada, street.lounge.id) as person:
        await street.says(street.lounge, "Go ahead")
        assert (await street.press("listen")).content == texts.calls.LISTENS_ALREADY
        street.discord.enter(street.ben, street.lounge)
        await person.say(speech)
        await person.wait_for_audio(street.bot.id, 0.3)
        assert (await street.press("stop", person=street.ben)).content == texts.calls.STOPPED
        await street.says(street.lounge, "Ben asked me to stop")
        assert (await street.press("stop")).content == texts.calls.STOPPED_ALREADY
        assert "stopped" in (await street.press("status")).content
        decoded, heard_at = street.metrics.counter("voice.rx.frames").value, len(street.engine.log.of(AudioReceived))
        played = person.heard.audible_s(street.bot.id)
        street.engine.inject(b"\x02 Nobody reads this.")
        await person.say(speech)
        assert street.metrics.counter("voice.rx.frames").value == decoded
        assert len(street.engine.log.of(AudioReceived)) - heard_at > 20, "the engine's clock goes on"
        assert person.heard.audible_s(street.bot.id) < played + 0.3
        assert (await street.press("listen")).content == texts.calls.LISTENS_AGAIN
        await person.say(speech)
        await person.wait_for_audio(street.bot.id, played + 0.3)
        assert street.where == street.lounge.id
    assert len(street.engine.log.of(Connected)) == 1
    assert not any("Nobody reads" in text for text in street.texts(street.lounge))


async def test_listen_calls_the_bot_where_it_is_not(street: Street) -> None:
    """Whoever says listen wants to be heard."""
    async with street.bot_running(street.config(bot=BotConfig(auto_join=False))):
        await street.commands_there()
        street.discord.enter(street.ada, street.lounge)
        assert (await street.press("listen")).content == texts.calls.joined(int(street.lounge.id))
        await street.listens()


async def test_latency_is_this_calls(street: Street) -> None:
    """Measured stages in words, once somebody has spoken."""
    async with street.bot_running(), Person(street.discord, street.ada, street.lounge.id) as person:
        await street.says(street.lounge, "Go ahead")
        await person.say(read_wav(CLIP)[:64_000])
        await person.wait_for_audio(street.bot.id, 0.3)
        text = (await street.press("latency")).content
        assert text.startswith("This call, measured:")
        for stage in (*texts.calls.STAGES.values(), texts.calls.GAUGES["engine.handshake_ms"]):
            assert stage in text
        assert " ms as a rule" in text


async def test_the_queue_is_shown_and_left(street: Street) -> None:
    """Its place and what to expect, for the own server's channels; who leaves it is not served."""
    other = street.discord.guilds[1]
    async with street.bot_running():
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        street.discord.enter(street.ben, other.voice_channels[0])
        await street.says(other.voice_channels[0], "number 1 in the queue")
        shown = await street.press("queue", person=street.ben, place=other)
        assert shown.content == texts.waiting.in_queue(int(other.voice_channels[0].id), 1, None)
        assert (await street.press("queue")).content == texts.waiting.NOT_IN_QUEUE
        left = await street.press("queue", {"leave": True}, person=street.ben, place=other)
        assert left.content == texts.waiting.LEFT_THE_QUEUE
        street.discord.leave(street.ada)
        await street.sits_in(None)
        await street.engine.log.wait_for(lambda log: log.of(ConversationClosed))
    assert len(street.engine.log.of(Connected)) == 1


async def test_written_commands(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix, four messages do what the slash commands do, and are answered where they were written; others are left alone."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", 0.05)
    general = street.guild.text_channel
    async with street.bot_running(street.config(bot=BotConfig(auto_join=False, prefix="!"))):
        await street.commands_there()
        street.discord.enter(street.ada, street.lounge)
        for content, answer in (
            (" !JOIN ", texts.calls.joined(int(street.lounge.id))),
            ("!stop", texts.calls.STOPPED),
            ("!listen", texts.calls.LISTENS_AGAIN),
            ("!leave", texts.calls.LEFT),
        ):
            street.discord.write(street.ada, general, content)
            await street.says(general, answer)
        answered = len(street.texts(general))
        for content in ("join", "!joint", "! join us", "hello !join", "/join"):
            street.discord.write(street.ada, general, content)
        street.discord.write(street.discord.bots[1], general, "!join")
        street.discord.write(street.ada, general, "!leave")
        await street.discord.wait_for(lambda: len(street.texts(general)) > answered)
        assert street.texts(general)[answered:] == [texts.calls.NOTHING_TO_LEAVE]


async def test_without_a_prefix_no_content_of_a_message_reaches_the_bot(street: Street) -> None:
    """The intent for what people write is not even asked for."""
    async with street.bot_running():
        await street.commands_there()
        (session,) = street.discord.gateway.sessions
        assert not session.login.intents & 1 << 15
        street.discord.write(street.ada, street.guild.text_channel, "!join")
        assert (await street.press("status")).content
    assert street.texts(street.guild.text_channel) == []


def more_than(street: Street, texts: int) -> bool:
    return len(street.texts(street.guild.text_channel)) > texts


@pytest.mark.parametrize("moderates", [False, True])
async def test_a_call_is_changed_by_its_people_and_moderators(street: Street, *, moderates: bool) -> None:
    """Who sits elsewhere is refused in a sentence by every command, written command and button that changes a call; a moderator is not."""
    general, cleo = street.guild.text_channel, street.discord.people[2]
    if moderates:
        street.discord.allow(street.guild, street.lounge, cleo, "move_members")
    async with street.bot_running(street.config(bot=BotConfig(prefix="!"))):
        await street.commands_there()
        street.discord.enter(street.ben, street.lounge)
        await street.listens()
        street.discord.enter(cleo, street.study)
        await street.says(street.study, f"<#{street.lounge.id}>")
        answers = [(await street.press(name, person=cleo)).content for name in ("reset", "stop", "listen")]
        assert all((answer == texts.waiting.NOT_YOUR_CALL) != moderates for answer in answers), answers
        chosen = await street.press("persona set", {"role": "You are a cook."}, person=street.ben)
        assert chosen.reply
        applied = (await street.discord.press_button(chosen.reply, APPLY_ID, cleo)).content
        assert applied == (texts.personas.APPLIED if moderates else texts.waiting.NOT_YOUR_CALL)
        if not moderates:
            for word in ("!stop", "!listen", "!leave"):
                before = len(street.texts(general))
                street.discord.write(cleo, general, word)
                await street.discord.wait_for(functools.partial(more_than, street, before))
            assert street.texts(general) == [texts.waiting.NOT_YOUR_CALL] * 3
        assert (await street.press("leave", person=cleo)).content == (texts.calls.LEFT if moderates else texts.waiting.NOT_YOUR_CALL)
    assert moderates or len(street.engine.log.of(Connected)) == 1


async def test_a_place_in_the_queue_is_left_by_its_people(street: Street) -> None:
    """Somebody who sits in another channel of the server cannot take it away, and who sits in it can."""
    other, cleo = street.discord.guilds[1], street.discord.people[2]
    waiting, beside = other.voice_channels
    async with street.bot_running(street.config(bot=BotConfig(auto_join=False))):
        await street.commands_there()
        street.discord.enter(street.ada, street.lounge)
        await street.press("join")
        street.discord.enter(street.discord.people[3], waiting)
        assert "number 1" in (await street.press("join", person=street.discord.people[3], place=other)).content
        street.discord.enter(cleo, beside)
        for _ in range(2):
            for name, options in (("queue", {"leave": True}), ("leave", {})):
                assert (await street.press(name, options, person=cleo, place=other)).content in (
                    texts.waiting.NOT_YOUR_PLACE,
                    texts.waiting.NOT_YOUR_CALL,
                )
        assert "number 1" in (await street.press("queue", place=other)).content
        assert "number 2" in (await street.press("listen", person=cleo, place=other)).content, "with no call it does what /join does"
        assert (
            await street.press("queue", {"leave": True}, person=street.discord.people[3], place=other)
        ).content == texts.waiting.LEFT_THE_QUEUE


async def test_what_joins_or_posts_has_a_limit(street: Street) -> None:
    """The answer says when it is possible again; being left alone is never refused."""
    async with street.bot_running(street.config(bot=BotConfig(auto_join=False))):
        await street.commands_there()
        answers = [(await street.press("join", person=street.ben)).content for _ in range(7)]
        assert answers[:5] == [texts.calls.NOT_IN_VOICE] * 5
        assert all(answer.startswith("That was asked for very often just now.") for answer in answers[5:])
        assert (await street.press("join")).content == texts.calls.NOT_IN_VOICE, "one person uses up nobody else's"
        for name in ("stop", "leave", "privacy"):
            answers = [(await street.press(name, person=street.ben)).content for _ in range(12)]
            assert not any("very often" in answer for answer in answers)


@pytest.mark.parametrize(("captions", "hidden", "name"), [("voice", True, "Ada"), ("general", False, "Ada"), ("general", True, "Somebody")])
async def test_names_are_told_where_all_readers_see_the_channel(street: Street, captions: str, name: str, *, hidden: bool) -> None:
    """Who reads a text channel does not learn who sits in a voice channel that is hidden from them."""
    general = street.guild.text_channel
    if hidden:
        street.discord.deny(street.guild, street.lounge, street.discord.people[3], "view_channel")
    setting = general.id if captions == "general" else "voice"
    async with street.bot_running(street.config(bot=BotConfig(captions=setting))):
        await street.commands_there()
        street.discord.enter(street.ada, street.lounge)
        await street.listens()
        read = general if captions == "general" else street.lounge
        await street.press("stop")
        await street.says(read, f"{name} asked me to stop")
        await street.press("leave")
        await street.says(read, f"{name} asked me to leave")
