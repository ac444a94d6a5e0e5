"""The watchdog on the loopback: keys that open nothing, a relay that forwards nothing, and people who are merely silent.

The waits are an eighth of the real ones, which tests/voice/test_deafness.py holds to five seconds. Where something is mended they are
longer on a machine that is said to be busy: they have to outlast what a change of keys takes there.
"""

import asyncio
import functools
import itertools
from types import SimpleNamespace

import pytest

from discordplex.loopback.clock import FakeClock
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.timeouts import FACTOR
from discordplex.metrics import Metrics
from discordplex.voice import deafness
from discordplex.voice.events import CannotHear, HearsAgain, Lost
from discordplex.voice.rtp.encryption import MODES, Transport
from discordplex.voice.rtp.receiver import EVERYBODY
from discordplex.voice.watchdog import NOT_DECODED, NOT_DECRYPTED, NOT_NAMED, Watchdog, excused
from tests.voice.booth import Booth, noise
from tests.voice.conftest import SideBySide
from tests.voice.pace import hurry_watchdog

encrypted_calls = functools.partial(VoiceGatewayServer, dave=True)
PACE = 8
SENTENCE = noise(20, channels=1)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry_watchdog(monkeypatch, PACE)


def mends(booth: Booth) -> tuple[int, int, int]:
    """New keys, new sessions, notices."""
    return booth.counted("deaf.rekey"), booth.counted("deaf.reconnect"), booth.counted("deaf.tell")


async def heard(booth: Booth, ada: Person) -> None:
    """Something new that she says comes through."""
    before = booth.ear.frames(ada.user.id)
    await ada.say(noise(25, channels=1, seed=9))
    await booth.until(lambda: booth.ear.frames(ada.user.id) >= before + 10)


async def speak_until(booth: Booth, ada: Person, changes: tuple[int, int, int]) -> None:
    """Speak, again and again, until so much has been tried."""
    for _ in range(40):
        if mends(booth) == changes:
            return
        await ada.say(noise(10, channels=1))
    raise AssertionError(f"{mends(booth)} were tried, not {changes}")


async def useless_keys(booth: Booth) -> None:
    """What somebody sends opens for nobody any more: new keys for all mend it, in the same session, and nobody else notices."""
    async with booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        ssrc = link.ssrc
        assert ada.member
        ada.member.spoil(key_changes=1)
        await speak_until(booth, ada, (1, 0, 0))
        await booth.settled(2, ada)
        await heard(booth, ada)
        assert link.ssrc == ssrc
        assert not [event for event in booth.events if isinstance(event, Lost | CannotHear)]


async def new_keys_do_not_help(booth: Booth) -> None:
    """Where the keys stay useless, the bot leaves and enters again; the call has lost its connection for that moment, and says so."""
    async with booth.person(e2ee="libdave") as ada:
        await booth.connect()
        await booth.settled(2, ada)
        assert ada.member
        ada.member.spoil(key_changes=2)
        await speak_until(booth, ada, (1, 1, 0))
        await booth.until(lambda: booth.restored > 0)
        await booth.settled(2, ada)
        await heard(booth, ada)
        assert [event.final for event in booth.events if isinstance(event, Lost)] == [False]
        assert not [event for event in booth.events if isinstance(event, CannotHear)]


async def nothing_helps(booth: Booth) -> None:
    """After new keys and a new session people are told who cannot be heard, once; and again when they can be."""
    async with booth.person(e2ee="libdave") as ada:
        await booth.connect()
        await booth.settled(2, ada)
        assert ada.member
        ada.member.spoil(key_changes=1000)
        await speak_until(booth, ada, (1, 1, 1))
        await ada.say(SENTENCE)
        (told,) = [event for event in booth.events if isinstance(event, CannotHear)]
        assert told.speaker == int(ada.user.id)
        assert "cannot be decrypted" in told.reason
        ada.member.spoil(key_changes=0)
        await heard(booth, ada)
        await booth.until(lambda: HearsAgain(int(ada.user.id)) in booth.events)


async def a_relay_that_forwards_nothing(booth: Booth) -> None:
    """Nothing arrives of who is said to speak: a new session mends it."""
    async with booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        ssrc = link.ssrc
        await heard(booth, ada)
        booth.loopback.voice.relay.starve(booth.bot_id)
        await speak_until(booth, ada, (0, 1, 0))
        await booth.until(lambda: booth.restored > 0)
        await booth.settled(2, ada)
        await heard(booth, ada)
        assert link.ssrc != ssrc


async def a_dead_path(booth: Booth) -> None:
    """In the middle of a sentence nothing arrives any more, keep-alives are not answered either: the same."""
    async with booth.person(e2ee="libdave") as ada:
        await booth.connect()
        await booth.settled(2, ada)
        talking = asyncio.create_task(ada.say(noise(60, channels=1)))
        await booth.until(lambda: booth.ear.frames(ada.user.id) > 30)
        booth.loopback.voice.relay.unplug(booth.bot_id)
        await booth.until(lambda: any(isinstance(event, Lost) for event in booth.events))
        assert mends(booth) == (0, 1, 0)
        ada.stop_speaking()
        await talking
        await booth.until(lambda: booth.restored > 0)
        await booth.settled(2, ada)
        await heard(booth, ada)


async def speech_without_an_end(booth: Booth) -> None:
    """Three utterances end without the silence packets, each followed by a pause: the path is alive, and nothing is mended."""
    async with booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        ssrc = link.ssrc
        for seed in range(3):
            await ada.say(noise(60, channels=1, seed=seed), marks_end=False)
            before = booth.counted("rx.keepalives")
            booth.mouth.say(noise(40, seed=seed))  # longer than the watchdog's patience
            await booth.is_heard_by(ada)
            assert booth.counted("rx.keepalives") > before
        assert mends(booth) == (0, 0, 0)
        assert (booth.counted("losses"), link.ssrc) == (0, ssrc)
        await heard(booth, ada)


async def attack(ada: Person) -> None:
    """Bad packets, then a good one, eight times."""
    assert ada.member
    for seed in range(8):
        ada.member.spoil(key_changes=1000)
        await ada.say(noise(30, channels=1, seed=seed))
        ada.member.spoil(key_changes=0)
        await ada.say(noise(5, channels=1, seed=seed))


async def an_attacker_alone(booth: Booth) -> None:
    """Bad packets and good ones by turns: no more is done about it than the speaker's budget allows, and the good ones are heard."""
    async with booth.person(e2ee="libdave") as ada:
        await booth.connect()
        await booth.settled(2, ada)
        await attack(ada)
        for tried, remedy in zip(mends(booth), deafness.Remedy, strict=True):
            assert tried <= deafness.SPEAKER_BUDGET[remedy]
        assert mends(booth)[0] > 0
        await heard(booth, ada)


async def an_attacker_among_others(booth: Booth) -> None:
    """The same while somebody else talks: nobody's session ends for it, and every packet of the other is heard."""
    async with booth.person(0, e2ee="libdave") as ada, booth.person(1, e2ee="libdave") as ben:
        link = await booth.connect()
        await booth.settled(3, ada, ben)
        ssrc = link.ssrc
        talking = asyncio.create_task(ben.say(noise(50 * 8, channels=1)))
        await attack(ada)
        ben.stop_speaking()
        await talking
        assert mends(booth)[1] == 0
        assert mends(booth)[0] <= deafness.SPEAKER_BUDGET[deafness.Remedy.REKEY]
        assert (booth.counted("losses"), link.ssrc) == (0, ssrc)
        await booth.hears(ben)


async def a_stale_key_of_the_transport(booth: Booth) -> None:
    """The relay seals with a key that we were never given: nothing of who is said to speak authenticates, and a new session mends it."""
    async with booth.person(e2ee="libdave") as ada:
        link = await booth.connect()
        await booth.settled(2, ada)
        await heard(booth, ada)
        assert link.ssrc
        booth.loopback.voice.relay.secure(link.ssrc, Transport.for_mode(MODES[0], bytes(32)))
        await speak_until(booth, ada, (0, 1, 0))
        await booth.until(lambda: booth.restored > 0)
        await booth.settled(2, ada)
        await heard(booth, ada)


async def quiet_people(booth: Booth) -> None:
    """Somebody speaks and falls silent, one is muted in the middle of it, one has opted out and is unreadable: nothing is mended."""
    async with booth.person(0, e2ee="libdave") as ada, booth.person(1, e2ee="libdave") as ben, booth.person(2, e2ee="libdave") as cleo:
        link = await booth.connect()
        await booth.settled(4, ada, ben, cleo)
        assert cleo.member
        cleo.member.spoil(key_changes=1000)
        link.ignore([int(cleo.user.id)])
        booth.loopback.world.voice_join(ben.user.id, booth.loopback.guilds[0].id, booth.lounge.id, self_mute=True)
        await asyncio.gather(ada.say(SENTENCE), cleo.say(SENTENCE))
        ben.announce()
        await cleo.say(SENTENCE + SENTENCE)
        assert mends(booth) == (0, 0, 0)
        assert booth.counted("losses") == 0


async def test_the_deaf_are_mended_and_the_silent_left_alone(side_by_side: SideBySide, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three degrees of useless keys, three ways of a relay to fail, and people who are merely quiet: each scenario says what is right."""
    hurry_watchdog(monkeypatch, 1 / FACTOR)
    scenarios = [useless_keys, new_keys_do_not_help, nothing_helps, quiet_people]
    await side_by_side(*scenarios, a_relay_that_forwards_nothing, a_dead_path, a_stale_key_of_the_transport, voice=encrypted_calls)


async def test_nobody_can_force_a_new_session(side_by_side: SideBySide) -> None:
    """By how they end their speech, or by sending what cannot be read."""
    await side_by_side(speech_without_an_end, an_attacker_alone, an_attacker_among_others, voice=encrypted_calls)


@pytest.mark.parametrize(
    ("encrypted", "user_id", "why"),
    [(True, 1, NOT_DECRYPTED), (True, None, NOT_DECRYPTED), (False, 1, NOT_DECODED), (False, None, NOT_NAMED)],
)
async def test_why_somebody_is_not_heard(*, encrypted: bool, user_id: int | None, why: str) -> None:
    """While somebody else is heard, people are told at the latest after new keys; and nothing that is not so is said about them."""
    told: list[object] = []
    clock, packets = FakeClock(), itertools.count(step=25)

    def counted() -> list[deafness.StreamCounts]:
        arrived = next(packets)
        return [
            deafness.StreamCounts(ssrc=5, user_id=user_id, announced=0, arrived=arrived, read=0, silences=0, ended=False),
            deafness.StreamCounts(ssrc=6, user_id=2, announced=0, arrived=arrived, read=arrived, silences=0, ended=False),
        ]

    session = SimpleNamespace(
        receiver=SimpleNamespace(stream_counts=counted),
        e2ee=SimpleNamespace(encrypted=encrypted),
        path_owes_answer=False,
        path_silent_s=0.0,
        ask_path=lambda: None,
        rejoin_group=lambda: None,
    )
    watchdog = Watchdog(live_session=lambda: session, excused=lambda _: (), tell=told.append, clock=clock, metrics=Metrics())  # type: ignore[arg-type, return-value]
    watching = asyncio.create_task(watchdog.during(clock.sleep_until(clock.now() + 15)))
    await clock.advance(20.0)
    await watching
    assert told == [CannotHear(5 if user_id is None else user_id, why)]


async def test_a_session_is_ended_once() -> None:
    """A session that takes its time to end is not ended again, and no second try is charged; the next one is looked at."""
    clock, closings = FakeClock(), list[object]()

    def dead_session() -> SimpleNamespace:
        return SimpleNamespace(
            receiver=SimpleNamespace(stream_counts=list),
            e2ee=SimpleNamespace(encrypted=True),
            path_owes_answer=True,
            path_silent_s=10.0,
            ask_path=lambda: None,
            stop=closings.append,
        )

    sessions = [dead_session()]
    watchdog = Watchdog(
        live_session=lambda: sessions[-1],  # type: ignore[arg-type, return-value]
        excused=lambda _: (),
        tell=lambda _: None,
        clock=clock,
        metrics=Metrics(),
    )
    watching = asyncio.create_task(watchdog.during(clock.sleep_until(clock.now() + 8)))
    await clock.advance(4.0)
    assert len(closings) == 1
    sessions.append(dead_session())
    await clock.advance(4.0)
    await watching
    assert len(closings) == 2


def flags(**set_ones: bool) -> SimpleNamespace:
    return SimpleNamespace(**(dict.fromkeys(("mute", "self_mute", "suppress", "deaf", "self_deaf"), False) | set_ones))


def test_who_need_not_be_heard() -> None:
    """Muted by themselves, by a moderator or on a stage; who is ignored; and everybody where we are deaf ourselves."""
    people = {1: flags(), 2: flags(mute=True), 3: flags(self_mute=True), 4: flags(suppress=True), 5: flags(), 6: flags(deaf=True)}
    named = frozenset({5})
    assert excused(people, own_id=1, ignored=frozenset({5, 99}), named=named) == {2, 3, 4, 5}
    assert excused(people, own_id=6, ignored=frozenset(), named=named) is EVERYBODY
    assert excused(people | {6: flags(self_deaf=True)}, own_id=6, ignored=frozenset(), named=named) is EVERYBODY
    assert excused(people, own_id=1, ignored=EVERYBODY, named=named) is EVERYBODY


def test_a_stream_without_a_name_may_be_of_somebody_who_opted_out() -> None:
    """As long as somebody who is here and ignored has no stream of their own, nobody asks why such a stream is not heard."""
    people = {1: flags(), 5: flags()}
    assert None in set(excused(people, own_id=1, ignored=frozenset({5}), named=frozenset()))  # type: ignore[call-overload]
    assert None not in set(excused(people, own_id=1, ignored=frozenset({9}), named=frozenset()))  # type: ignore[call-overload]
