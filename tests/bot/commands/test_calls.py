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
from tests.end_to_end.sound import CLIP
from tests.home import Home


async def test_join_and_leave_and_status(home: Home) -> None:
    """Each answers its caller alone, in words, also when there is nothing to do."""
    async with home.bot_running(home.config(bot=BotConfig(auto_join=False))):
        await home.commands_there()
        assert (await home.press("join")).content == texts.calls.NOT_IN_VOICE
        assert (await home.press("leave")).content == texts.calls.NOTHING_TO_LEAVE
        assert (await home.press("listen")).content == texts.calls.NOT_IN_VOICE
        assert (await home.press("stop")).content == texts.calls.NO_CALL
        assert (await home.press("latency")).content == texts.calls.NO_CALL
        assert (await home.press("queue")).content == texts.waiting.NOT_IN_QUEUE
        home.discord.enter(home.ada, home.lounge)
        assert "use `/join`" in (await home.press("status")).content
        joined = await home.press("join")
        assert joined.content == texts.calls.joined(int(home.lounge.id))
        assert joined.ephemeral
        await home.listens()
        home.discord.enter(home.ben, home.lounge)
        assert "with the voice **NATF0.pt**" in (await home.press("status", person=home.ben)).content
        assert (await home.press("leave", person=home.ben)).content == texts.calls.LEFT
        await home.says(home.lounge, "Ben asked me to leave")


async def test_every_answer_comes_or_is_announced_at_once(home: Home) -> None:
    """Discord gives a command three seconds; each of ours asks for time first."""
    async with home.bot_running():
        await home.commands_there()
        names = [command["name"] for command in home.discord.world.commands[home.bot.id, None] if not nested(command)]
        assert {"join", "leave", "listen", "stop", "voice", "status", "queue", "latency", "privacy"} <= set(names)
        for name in names:
            pressed = await home.press(name, {"state": "off"} if name == "notes" else None)
            assert pressed.deferred
            assert pressed.ephemeral
            assert pressed.content


def nested(command: dict[str, object]) -> bool:
    options = command.get("options") or []
    return any(option["type"] == 1 for option in options) if isinstance(options, list) else False


async def test_stop_and_listen(home: Home) -> None:
    """Stopped, the bot stays, the engine hears silence and goes on, nothing is played or written; then people are heard again."""
    speech = read_wav(CLIP)[:64_000]
    async with home.bot_running(), Person(home.discord, home.ada, home.lounge.id) as person:
        await home.says(home.lounge, "Go ahead")
        assert (await home.press("listen")).content == texts.calls.LISTENS_ALREADY
        home.discord.enter(home.ben, home.lounge)
        await person.say(speech)
        await person.wait_for_audio(home.bot.id, 0.3)
        assert (await home.press("stop", person=home.ben)).content == texts.calls.STOPPED
        await home.says(home.lounge, "Ben asked me to stop")
        assert (await home.press("stop")).content == texts.calls.STOPPED_ALREADY
        assert "stopped" in (await home.press("status")).content
        decoded, heard_at = home.metrics.counter("voice.rx.frames").value, len(home.engine.log.of(AudioReceived))
        played = person.heard.audible_s(home.bot.id)
        home.engine.inject(b"\x02 Nobody reads this.")
        await person.say(speech)
        assert home.metrics.counter("voice.rx.frames").value == decoded
        assert len(home.engine.log.of(AudioReceived)) - heard_at > 20, "the engine's clock goes on"
        assert person.heard.audible_s(home.bot.id) < played + 0.3
        assert (await home.press("listen")).content == texts.calls.LISTENS_AGAIN
        await person.say(speech)
        await person.wait_for_audio(home.bot.id, played + 0.3)
        assert home.where == home.lounge.id
    assert len(home.engine.log.of(Connected)) == 1
    assert not any("Nobody reads" in text for text in home.texts(home.lounge))


async def test_listen_calls_the_bot_where_it_is_not(home: Home) -> None:
    """Whoever says listen wants to be heard."""
    async with home.bot_running(home.config(bot=BotConfig(auto_join=False))):
        await home.commands_there()
        home.discord.enter(home.ada, home.lounge)
        assert (await home.press("listen")).content == texts.calls.joined(int(home.lounge.id))
        await home.listens()


async def test_latency_is_this_calls(home: Home) -> None:
    """Measured stages in words, once somebody has spoken."""
    async with home.bot_running(), Person(home.discord, home.ada, home.lounge.id) as person:
        await home.says(home.lounge, "Go ahead")
        await person.say(read_wav(CLIP)[:64_000])
        await person.wait_for_audio(home.bot.id, 0.3)
        text = (await home.press("latency")).content
        assert text.startswith("Latency of this call:")
        for stage in (*texts.calls.STAGES.values(), texts.calls.GAUGES["engine.handshake_ms"]):
            assert stage in text
        assert ": usually " in text


async def test_the_queue_is_shown_and_left(home: Home) -> None:
    """Its place and what to expect, for the own server's channels; who leaves it is not served."""
    other = home.discord.guilds[1]
    async with home.bot_running():
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        home.discord.enter(home.ben, other.voice_channels[0])
        await home.says(other.voice_channels[0], "number 1 in the queue")
        shown = await home.press("queue", person=home.ben, place=other)
        assert shown.content == texts.waiting.in_queue(int(other.voice_channels[0].id), 1, None)
        assert (await home.press("queue")).content == texts.waiting.NOT_IN_QUEUE
        left = await home.press("queue", {"leave": True}, person=home.ben, place=other)
        assert left.content == texts.waiting.LEFT_THE_QUEUE
        home.discord.leave(home.ada)
        await home.sits_in(None)
        await home.engine.log.wait_for(lambda log: log.of(ConversationClosed))
    assert len(home.engine.log.of(Connected)) == 1


async def test_written_commands(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a prefix, four messages do what the slash commands do, and are answered where they were written; others are left alone."""
    monkeypatch.setattr(poster, "WRITE_INTERVAL_S", 0.05)
    general = home.guild.text_channel
    async with home.bot_running(home.config(bot=BotConfig(auto_join=False, prefix="!"))):
        await home.commands_there()
        home.discord.enter(home.ada, home.lounge)
        for content, answer in (
            (" !JOIN ", texts.calls.joined(int(home.lounge.id))),
            ("!stop", texts.calls.STOPPED),
            ("!listen", texts.calls.LISTENS_AGAIN),
            ("!leave", texts.calls.LEFT),
        ):
            home.discord.write(home.ada, general, content)
            await home.says(general, answer)
        answered = len(home.texts(general))
        for content in ("join", "!joint", "! join us", "hello !join", "/join"):
            home.discord.write(home.ada, general, content)
        home.discord.write(home.discord.bots[1], general, "!join")
        home.discord.write(home.ada, general, "!leave")
        await home.discord.wait_for(lambda: len(home.texts(general)) > answered)
        assert home.texts(general)[answered:] == [texts.calls.NOTHING_TO_LEAVE]


async def test_without_a_prefix_no_content_of_a_message_reaches_the_bot(home: Home) -> None:
    """The intent for what people write is not even asked for."""
    async with home.bot_running():
        await home.commands_there()
        (session,) = home.discord.gateway.sessions
        assert not session.login.intents & 1 << 15
        home.discord.write(home.ada, home.guild.text_channel, "!join")
        assert (await home.press("status")).content
    assert home.texts(home.guild.text_channel) == []


def more_than(home: Home, texts: int) -> bool:
    return len(home.texts(home.guild.text_channel)) > texts


@pytest.mark.parametrize("moderates", [False, True])
async def test_a_call_is_changed_by_its_people_and_moderators(home: Home, *, moderates: bool) -> None:
    """Who sits elsewhere is refused in a sentence by every command, written command and button that changes a call; a moderator is not."""
    general, cleo = home.guild.text_channel, home.discord.people[2]
    if moderates:
        home.discord.allow(home.guild, home.lounge, cleo, "move_members")
    async with home.bot_running(home.config(bot=BotConfig(prefix="!"))):
        await home.commands_there()
        home.discord.enter(home.ben, home.lounge)
        await home.listens()
        home.discord.enter(cleo, home.study)
        await home.says(home.study, f"<#{home.lounge.id}>")
        answers = [(await home.press(name, person=cleo)).content for name in ("reset", "stop", "listen")]
        assert all((answer == texts.waiting.NOT_YOUR_CALL) != moderates for answer in answers), answers
        chosen = await home.press("persona set", {"role": "You are a cook."}, person=home.ben)
        assert chosen.reply
        applied = (await home.discord.press_button(chosen.reply, APPLY_ID, cleo)).content
        assert applied == (texts.personas.APPLIED if moderates else texts.waiting.NOT_YOUR_CALL)
        if not moderates:
            for word in ("!stop", "!listen", "!leave"):
                before = len(home.texts(general))
                home.discord.write(cleo, general, word)
                await home.discord.wait_for(functools.partial(more_than, home, before))
            assert home.texts(general) == [texts.waiting.NOT_YOUR_CALL] * 3
        assert (await home.press("leave", person=cleo)).content == (texts.calls.LEFT if moderates else texts.waiting.NOT_YOUR_CALL)
    assert moderates or len(home.engine.log.of(Connected)) == 1


async def test_a_place_in_the_queue_is_left_by_its_people(home: Home) -> None:
    """Somebody who sits in another channel of the server cannot take it away, and who sits in it can."""
    other, cleo = home.discord.guilds[1], home.discord.people[2]
    waiting, beside = other.voice_channels
    async with home.bot_running(home.config(bot=BotConfig(auto_join=False))):
        await home.commands_there()
        home.discord.enter(home.ada, home.lounge)
        await home.press("join")
        home.discord.enter(home.discord.people[3], waiting)
        assert "number 1" in (await home.press("join", person=home.discord.people[3], place=other)).content
        home.discord.enter(cleo, beside)
        for _ in range(2):
            for name, options in (("queue", {"leave": True}), ("leave", {})):
                assert (await home.press(name, options, person=cleo, place=other)).content in (
                    texts.waiting.NOT_YOUR_PLACE,
                    texts.waiting.NOT_YOUR_CALL,
                )
        assert "number 1" in (await home.press("queue", place=other)).content
        assert "number 2" in (await home.press("listen", person=cleo, place=other)).content, "with no call it does what /join does"
        assert (
            await home.press("queue", {"leave": True}, person=home.discord.people[3], place=other)
        ).content == texts.waiting.LEFT_THE_QUEUE


async def test_what_joins_or_posts_has_a_limit(home: Home) -> None:
    """The answer says when it is possible again; being left alone is never refused."""
    async with home.bot_running(home.config(bot=BotConfig(auto_join=False))):
        await home.commands_there()
        answers = [(await home.press("join", person=home.ben)).content for _ in range(7)]
        assert answers[:5] == [texts.calls.NOT_IN_VOICE] * 5
        assert all(answer.startswith("That was used very often just now.") for answer in answers[5:])
        assert (await home.press("join")).content == texts.calls.NOT_IN_VOICE, "one person uses up nobody else's"
        for name in ("stop", "leave", "privacy"):
            answers = [(await home.press(name, person=home.ben)).content for _ in range(12)]
            assert not any("very often" in answer for answer in answers)


@pytest.mark.parametrize(("captions", "hidden", "name"), [("voice", True, "Ada"), ("general", False, "Ada"), ("general", True, "Somebody")])
async def test_names_are_told_where_all_readers_see_the_channel(home: Home, captions: str, name: str, *, hidden: bool) -> None:
    """Who reads a text channel does not learn who sits in a voice channel that is hidden from them."""
    general = home.guild.text_channel
    if hidden:
        home.discord.deny(home.guild, home.lounge, home.discord.people[3], "view_channel")
    setting = general.id if captions == "general" else "voice"
    async with home.bot_running(home.config(bot=BotConfig(captions=setting))):
        await home.commands_there()
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        read = general if captions == "general" else home.lounge
        await home.press("stop")
        await home.says(read, f"{name} asked me to stop")
        await home.press("leave")
        await home.says(read, f"{name} asked me to leave")
