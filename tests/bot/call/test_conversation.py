"""As whom the engine of a call speaks, and what people are told of that."""

from dataclasses import replace

import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.pacing import REPLIES, STREAM
from discordplex.bot import texts
from discordplex.bridge.gated_sink import GatedSink
from discordplex.engine import Audio, Closed, EngineCaps, Persona, PersonaIgnored, StandIn, StandInReason, Text
from discordplex.errors import EngineError
from discordplex.loopback.clock import FakeClock
from tests.bot.hall import ANNA, Hall, hall
from tests.bridge.scripted import CASCADE, PERSONA, PLEX, ReplaceableScriptedLease
from tests.bridge.scripted_call import failing

PIRATE = Persona("NATM1.pt", "You are a pirate.")


async def test_a_persona_that_people_choose_in_a_call_is_asked_of_the_next_engine(clock: FakeClock) -> None:
    """Its name replaces the other one's in the greeting, and /status tells it at once."""
    async with hall(clock, transcribes=False) as it:
        assert PERSONA.voice in it.greeting()
        it.call.restart(PIRATE)
        assert it.call.persona == PIRATE
        await clock.advance(5)
        assert it.lease.personas == [PERSONA, PIRATE]
        assert PIRATE.voice in it.greeting()
        assert PERSONA.voice not in it.greeting()
        assert texts.calls.changed(PIRATE) in it.posted


@pytest.mark.parametrize("moved", [False, True], ids=["same server", "another server"])
async def test_an_engine_that_keeps_its_persona(clock: FakeClock, *, moved: bool) -> None:
    """None is named while it is at that server; at another one the persona that was asked for is named again."""
    async with hall(clock, transcribes=False) as it:
        it.engine.does(PersonaIgnored())
        await clock.advance(3)
        assert PERSONA.voice not in it.greeting()
        assert it.call.persona is None
        it.lease.name = "other.example:8998" if moved else it.lease.name
        it.call.restart(PIRATE)
        await clock.advance(5)
        assert it.call.persona == (PIRATE if moved else None)
        assert (PIRATE.voice in it.greeting()) == moved
        assert (texts.calls.changed(PIRATE) in it.posted) == moved


@pytest.mark.parametrize("well", [False, True], ids=["nothing better", "another server"])
async def test_a_rescue_does_not_wait_for_the_next_try(clock: FakeClock, monkeypatch: pytest.MonkeyPatch, *, well: bool) -> None:
    """Where the lease finds a server that is well the engine there is opened at once; where none is, the pause goes on."""
    async with hall(clock, transcribes=False) as it:
        monkeypatch.setattr(it.lease, "relocate", lambda: False, raising=False)
        it.engine.does(Closed("Gone."))
        await clock.advance(0.05)
        assert it.call.lost_since is not None
        monkeypatch.setattr(it.lease, "relocate", lambda: well)
        assert it.call.rescue() == well
        await clock.advance(0.05)
        assert (it.next_engine.opened_at is not None) == well


REFUSED = Closed("It refuses the persona.", retry=False)
SENTENCE = texts.calls.replaced("PersonaPlex", "the cascade", REFUSED.reason)


async def test_everything_follows_the_kind_of_the_engine(clock: FakeClock) -> None:
    """Name, money, transcription, persona, playout, ducking and what /reset can do."""
    async with hall(clock, transcribes=False, other=True) as it:
        call = it.call
        assert (call.engine, call.state.transcribes, call._source._playout._profile) == ("PersonaPlex", False, STREAM)
        assert call.persona == PERSONA
        it.engine.does(REFUSED)
        await clock.advance(3)
        assert (call.engine, call.state.transcribes, call._source._playout._profile) == ("the cascade", True, REPLIES)
        assert call._source._ducking is not None
        assert call._hearing.sink.ducking is call._source._ducking
        assert call.persona == Persona("shimmer", PERSONA.text_prompt)
        assert (call.phase, call.lost_since) == ("listening", None)
        assert SENTENCE in it.posted
        assert "goes to the cascade" in it.greeting()
        assert "**shimmer**" in it.greeting()


async def test_no_word_is_sent_before_people_know(clock: FakeClock) -> None:
    """While Discord takes no message the new engine is not opened, and the notice is posted again and again."""
    async with hall(clock, transcribes=False, other=True) as it:
        assert it.other
        it.chat.faults = [ConnectionResetError()] * 12
        it.engine.does(REFUSED)
        await clock.advance(60)
        assert not was_opened(it)
        assert not it.call.billed
        it.chat.faults = []
        await clock.advance(120)
        assert was_opened(it)
        told_at = next(at for at, kind in reversed(it.chat.writes) if kind == "send")
        assert it.other.opened_at is not None
        assert it.other.opened_at >= told_at
        assert it.chat.texts.count(SENTENCE) == 1


async def test_where_nobody_can_be_told_the_call_goes_on(clock: FakeClock) -> None:
    """As at its beginning: captions are off, and there is no other channel."""
    async with hall(clock, transcribes=False, other=True) as it:
        await it.captions("off")
        it.engine.does(REFUSED)
        await clock.advance(0.5)
        assert was_opened(it)


async def test_more_is_written_down_only_after_a_new_notice(clock: FakeClock) -> None:
    """A transcript of what the engine says becomes one of what people say: the message with the buttons is posted anew."""
    async with hall(clock, transcribes=False, other=True) as it:
        await it.switch(transcripts=True)
        assert "of what I say" in it.greeting()
        assert it.other
        it.engine.does(REFUSED)
        await clock.advance(0.2)
        it.other.does(Text("Too early.", role="person", speaker=ANNA, final=True))
        await clock.advance(5)
        it.other.does(Text("I know.", role="person", speaker=ANNA, final=True))
        await clock.advance(3)
        assert "of what I say" not in it.greeting()
        assert it.chat.messages[-1].view or any(message.view and "of what I say" not in message.text for message in it.chat.messages)
        assert await it.kept() == [(ANNA, "I know.")]


async def test_ears_are_for_an_engine_that_does_not_transcribe(clock: FakeClock) -> None:
    """An engine of another kind that writes down by itself what people say makes them needless."""
    async with hall(clock, transcribes=False, other=True, ears=True) as it:
        await clock.advance(3)
        assert it.call._disclosure.allows_ears()
        it.engine.does(REFUSED)
        await clock.advance(0.01)
        assert not it.call._disclosure.allows_ears()
        await clock.advance(5)
        assert was_opened(it)
        assert not it.call._disclosure.allows_ears()


async def test_what_people_read_of_a_lost_engine(clock: FakeClock) -> None:
    """The first loss says that the bot keeps trying; after the replacement nothing says so any more."""
    async with hall(clock, transcribes=False, other=True) as it:
        await clock.advance(2)
        it.engine.does(Closed("It died."))
        await clock.advance(0.5)
        assert texts.calls.engine_lost("It died.") in it.chat.texts
        it.next_engine._on_open = failing(EngineError(REFUSED.reason))
        await clock.advance(6)
        assert [text for text in it.chat.texts if "I am listening" not in text] == ["It died.", SENTENCE]


async def test_a_call_that_begins_with_another_kind_says_why(clock: FakeClock) -> None:
    """Once, beside the greeting that names the engine."""
    async with hall(clock, transcribes=False, other=True) as it:
        it.call._announcer.state.engine = CASCADE.description
        said_of: dict[StandInReason, str] = {
            "busy": "PersonaPlex is busy with other conversations, so this call has the cascade.",
            "failing": "PersonaPlex does not work at the moment, so this call has the cascade.",
            "minutes": "This server has used its minutes of PersonaPlex for now, so this call has the cascade.",
        }
        for reason, said in said_of.items():
            for _ in range(2):
                it.call._announcer.stands_in(StandIn(PLEX, reason))
            await clock.advance(2)
            assert it.chat.texts.count(said) == 1


async def returned(it: Hall, clock: FakeClock) -> None:
    """The call has lost PersonaPlex, has another kind, and now PersonaPlex is free again."""
    assert isinstance(it.lease, ReplaceableScriptedLease)
    it.engine.does(REFUSED)
    await clock.advance(3)
    it.call._context = replace(it.call._context, return_to_preferred=True)
    it.lease.stand_in, it.lease.preferred = StandIn(PLEX, "busy"), it.next_engine


async def test_a_call_returns_to_the_preferred_kind(clock: FakeClock) -> None:
    """People know before that engine hears them; after the change everything is as at the beginning. It is asked for once."""
    async with hall(clock, transcribes=False, other=True) as it:
        await returned(it, clock)
        it.chat.faults = [ConnectionResetError()]
        for _ in range(3):
            it.call.return_to_preferred()
            await clock.advance(0.3)
        opened_before = it.next_engine.opened_at
        await clock.advance(5)
        assert it.chat.texts.count(texts.calls.returns("PersonaPlex")) == 1
        assert (opened_before, it.next_engine.opened_at is None) == (None, False)
        it.next_engine.does(Audio(bytes(ENGINE.frame_bytes)))
        await clock.advance(10)
        assert (it.call.engine, it.call.state.transcribes, it.call._source._playout._profile) == ("PersonaPlex", False, STREAM)
        assert it.call.persona == PERSONA
        assert "goes to PersonaPlex" in it.greeting()
        it.call.return_to_preferred()
        assert not it.call._conversation.may_return


async def test_a_return_that_fails_is_told(clock: FakeClock) -> None:
    """In the same message."""
    async with hall(clock, transcribes=False, other=True) as it:
        await returned(it, clock)
        it.next_engine._on_open = failing(EngineError("It is not there.", retry=True))
        it.call.return_to_preferred()
        await clock.advance(6)
        assert it.chat.texts[-1] == texts.calls.stays("PersonaPlex", "the cascade")
        assert it.call.engine == "the cascade"


@pytest.mark.parametrize("why", ["off", "paused", "preferred", "ends"])
async def test_when_a_call_does_not_return(clock: FakeClock, why: str) -> None:
    """By default, during /stop, and with the preferred kind. If the call ends before people know, the slot is free again."""
    async with hall(clock, transcribes=False, other=True) as it:
        await returned(it, clock)
        assert isinstance(it.lease, ReplaceableScriptedLease)
        if why == "off":
            it.call._context = replace(it.call._context, return_to_preferred=False)
        elif why == "paused":
            await it.call.pause("Anna")
        elif why == "preferred":
            it.lease.stand_in = None
        it.chat.faults = [ConnectionResetError()]
        it.call.return_to_preferred()
        await clock.advance(0.01)
        if why == "ends":
            assert it.call._returning
            it.call.hang_up()
            it.call._returning.cancel()
            await clock.advance(5)
            assert it.lease.slot
            assert it.lease.slot.given_back
            assert not any("after all" in text for text in it.chat.texts)
        else:
            assert it.lease.slot is None
        assert it.next_engine.opened_at is None


def was_opened(it: Hall) -> bool:
    return it.other is not None and it.other.opened_at is not None


@pytest.mark.parametrize("speaks", [False, True], ids=["in silence", "while somebody speaks"])
async def test_a_renewal_is_told_to_who_speaks_meanwhile(clock: FakeClock, monkeypatch: pytest.MonkeyPatch, *, speaks: bool) -> None:
    """The call says that it renews its conversation; only who is not heard gets a message, and it is edited when they are heard again."""
    async with hall(clock, transcribes=False) as it:
        it.engine.caps = EngineCaps(realtime_paced=True, memory_s=8)
        it.call.restart(PIRATE)
        it.lease.waiting.appendleft(it.engine)
        await clock.advance(2)

        async def opening() -> None:
            await clock.sleep_until(clock.now() + 5)

        it.next_engine._on_open = opening
        before = len(it.posted)
        await clock.advance(5)
        assert it.call.renewing
        assert it.call.lost_since is None
        monkeypatch.setattr(GatedSink, "pause_s", 0.0 if speaks else 60.0)
        await clock.advance(3)
        assert it.posted[before:] == [texts.calls.RENEWING] * speaks
        await clock.advance(4)
        assert it.posted[before:] == [texts.calls.RENEWING, texts.calls.RENEWED] * speaks
        assert it.call.phase == "listening"


async def test_a_model_that_cannot_forget_starts_over(clock: FakeClock) -> None:
    """`/reset` ends its conversation, and the next is told nothing of what was said."""
    async with hall(clock, transcribes=False) as it:
        await it.says("I know your secret.")
        assert it.call.reset()
        await clock.advance(2)
        assert it.next_engine.heard
        assert not it.lease.recaps[1]
