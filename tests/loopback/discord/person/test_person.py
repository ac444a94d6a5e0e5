"""People on the loopback: they enter, speak, listen, and survive what Discord does to their connections."""

import asyncio
import itertools
import operator
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.opus import SILENCE_PACKET
from discordplex.errors import VoiceError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.discord.world.model import Fact, Noted, VoiceStateChanged
from discordplex.voice.rtp.encryption import MODES

if TYPE_CHECKING:
    from tests.loopback.discord.conftest import OpenPlace, VoicePlace

Tone = Callable[..., bytes]
Samples = np.ndarray[Any, np.dtype[np.float64]]


async def fact(place: "VoicePlace", wanted: Callable[[Fact], bool]) -> None:
    """Return with the next fact of the world that is wanted."""
    seen = asyncio.Event()
    stop = place.world.subscribe(lambda found: seen.set() if wanted(found) else None)
    try:
        await timeouts.wait_for(seen.wait(), 10)
    finally:
        stop()


async def test_one_hears_what_the_other_says(place: "VoicePlace", tone: Tone) -> None:
    """Every Opus packet of one person reaches the other as it was made, in order, once."""
    ada, ben = place.people[:2]
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        await speaker.say(tone(0.4))
        await listener.wait_for_audio(ada.id, 0.4)
        assert listener.heard.opus(ada.id) == speaker.said.opus()
        assert len(speaker.said.opus()) == 20


async def test_two_transport_modes_meet_in_one_call(place: "VoicePlace", tone: Tone) -> None:
    """The relay seals for each receiver with that receiver's mode."""
    ada, ben = place.people[:2]
    async with (
        Person(place, ada, place.lounge, mode=MODES[0]) as first,
        Person(place, ben, place.lounge, mode=MODES[1]) as second,
    ):
        await asyncio.gather(first.say(tone(0.2)), second.say(tone(0.2, 880)))
        await first.wait_for_audio(ben.id, 0.2)
        await second.wait_for_audio(ada.id, 0.2)
        assert first.heard.opus(ben.id) == second.said.opus()
        assert second.heard.opus(ada.id) == first.said.opus()


async def test_speech_ends_with_five_silence_packets_and_then_nothing(place: "VoicePlace", tone: Tone) -> None:
    """A stretch of speech is contiguous and ends with five silence packets; a pause moves the timestamp alone."""
    ada = place.people[0]
    async with Person(place, ada, place.lounge) as speaker:
        await speaker.say(tone(0.1))
        await speaker.say(tone(0.1))
        packets = speaker.said.packets()
        assert [packet.opus == SILENCE_PACKET for packet in packets] == ([False] * 5 + [True] * 5) * 2
        assert all((b.sequence - a.sequence) & 0xFFFF == 1 for a, b in itertools.pairwise(packets))
        steps = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(packets)]
        assert {step % 960 for step in steps} == {0}
        assert steps[:9] == [960] * 9
        await place.voice.relay.wait_until(lambda: place.voice.relay.received_from(ada.id) == 20)


async def test_who_leaves_after_speaking_loses_nothing(place: "VoicePlace", tone: Tone) -> None:
    """Speaking lasts until the last packet's 20 ms are over, so the relay has every packet when the speaker has gone."""
    ada = place.people[0]
    async with Person(place, ada, place.lounge) as speaker:
        began = time.perf_counter()
        await speaker.say(tone(0.1))
        assert time.perf_counter() - began > 9.5 * ENGINE.frame_seconds
    assert place.voice.relay.received_from(ada.id) == 10


async def test_what_is_heard_lies_where_it_was_said(place: "VoicePlace", tone: Tone) -> None:
    """On the one clock of `said` and `heard`, speech and its echo in the other's ear begin together, pauses included."""
    ada, ben = place.people[:2]
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        await speaker.say(tone(0.2))
        await speaker.say(tone(0.2))
        await listener.wait_for_audio(ada.id, 0.4)
        start_s = speaker.said.packets()[0].at - 0.1
        end_s = speaker.said.packets()[-1].at + 0.1
        said = np.frombuffer(speaker.said.pcm(start_s=start_s, end_s=end_s), "<i2").astype(float)
        heard = np.frombuffer(listener.heard.pcm(ada.id, start_s=start_s, end_s=end_s), "<i2").astype(float)
        assert len(said) == len(heard)
        loud_said, loud_heard = envelope(said), envelope(heard)
        assert np.corrcoef(loud_said, loud_heard)[0, 1] > 0.9


def envelope(pcm: Samples) -> Samples:
    blocks = pcm[: len(pcm) // 960 * 960].reshape(-1, 960)
    return np.asarray(np.abs(blocks).mean(axis=1))


async def test_callbacks_come_for_each_frame_on_the_media_thread(place: "VoicePlace", tone: Tone) -> None:
    """`on_sent` counts frames of speech with the moment they left; `on_heard` brings each packet's PCM with its speaker."""
    ada, ben = place.people[:2]
    sent: list[tuple[int, float]] = []
    heard: list[tuple[str | None, int, str]] = []
    async with (
        Person(place, ada, place.lounge, on_sent=lambda index, at: sent.append((index, at))) as speaker,
        Person(
            place,
            ben,
            place.lounge,
            on_heard=lambda user, pcm, _: heard.append((user, len(pcm), threading.current_thread().name)),
        ) as listener,
    ):
        speaker.announce()
        await listener.wait_until(lambda: True)
        await speaker.say(tone(0.1))
        await listener.wait_for_audio(ada.id, 0.1)
    assert [index for index, _ in sent] == list(range(5))
    assert [at for _, at in sent] == [packet.at for packet in speaker.said.packets()[:5]]
    assert {(length, thread) for _, length, thread in heard} == {(1920, "loopback-media")}
    assert {user for user, _, _ in heard} <= {ada.id, None}


async def test_hush_ends_a_sentence_early(place: "VoicePlace", tone: Tone) -> None:
    """A person who is told to stop speaking stops at the next frame, with silence packets."""
    person: Person
    person = Person(place, place.people[0], place.lounge, on_sent=lambda index, _: person.stop_speaking() if index == 2 else None)
    async with person:
        await person.say(tone(30))
        assert [packet.opus == SILENCE_PACKET for packet in person.said.packets()] == [False] * 3 + [True] * 5


async def test_one_may_not_enter_without_permission(place: "VoicePlace") -> None:
    """Where Discord would ignore the wish to join, a person is told so at once."""
    channel = place.world.channel(place.lounge)
    assert channel is not None
    cleo = place.people[2]
    place.world.overwrite(channel, cleo.id, deny=1 << 20)
    with pytest.raises(VoiceError, match="may not enter"):
        async with Person(place, cleo, place.lounge):
            pass


async def test_a_refused_person_is_told_the_close_code(open_place: "OpenPlace") -> None:
    """Without encryption in a call that demands it, entering fails with 4017 and leaves nobody in the channel."""
    async with open_place(require_dave=True) as place:
        with pytest.raises(VoiceError, match="4017") as failure:
            async with Person(place, place.people[0], place.lounge):
                pass
        assert failure.value.code == 4017
        assert place.world.users_in(place.lounge) == []


async def test_leaving_leaves_nothing(place: "VoicePlace") -> None:
    """Whoever has left is in no channel, no call and no relay; leaving twice is leaving once."""
    ada = place.people[0]
    async with Person(place, ada, place.lounge) as person:
        assert place.world.users_in(place.lounge) == [ada.id]
        await person.leave()
        await person.leave()
        assert place.world.users_in(place.lounge) == []
        assert place.voice.participant(ada.id) is None
        assert len(place.voice.call(place.lounge)) == 0


@pytest.mark.parametrize("fault", [4015, 4000, "reset"])
async def test_a_resumable_loss_costs_no_frame(place: "VoicePlace", tone: Tone, fault: int | str) -> None:
    """While somebody speaks, both control channels are lost and resumed; every packet still arrives."""
    ada, ben = place.people[:2]
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        speaking = asyncio.create_task(speaker.say(tone(0.5)))
        await listener.wait_for_audio(ada.id, 0.1)
        for user in (ada, ben):
            back = asyncio.create_task(fact(place, partial(operator.eq, Noted(f"voice resumed {user.id}"))))
            await asyncio.sleep(0)
            if isinstance(fault, int):
                place.voice.close_connection(user.id, fault)
            else:
                place.voice.reset_connection(user.id)
            await back
        await speaking
        await listener.wait_until(lambda: listener.heard.opus(ada.id) == speaker.said.opus())
        assert speaker.sender.unsent == 0
        assert speaker.closures == listener.closures == []


@pytest.mark.parametrize("fault", ["4006", "server", "move"])
async def test_a_new_session_brings_a_person_back(place: "VoicePlace", tone: Tone, fault: str) -> None:
    """After 4006, a new voice server or a move, a person speaks and is heard again in the channel where they are."""
    ada, ben = place.people[:2]
    channel = place.study if fault == "move" else place.lounge
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, channel) as listener:
        entered = asyncio.create_task(fact(place, partial(operator.eq, Noted(f"voice entered {ada.id}"))))
        await asyncio.sleep(0)
        if fault == "4006":
            place.voice.close_connection(ada.id, 4006)
        elif fault == "server":
            place.world.new_voice_server(place.guild, ada.id)
        else:
            place.world.voice_move(ada.id, place.study)
        await entered
        await speaker.wait_until_secured()
        await speaker.say(tone(0.2))
        await listener.wait_for_audio(ada.id, 0.2)
        assert listener.heard.opus(ada.id) == speaker.said.opus()
        assert len(speaker.said.opus()) == 10
        assert speaker.closures == [{"4006": 4006, "server": 4022, "move": 4014}[fault]]


async def test_a_kicked_person_stays_out(place: "VoicePlace") -> None:
    """After a kick there is no new session, and the person does not ask for one."""
    ada = place.people[0]
    async with Person(place, ada, place.lounge) as person:
        out = asyncio.create_task(fact(place, lambda found: isinstance(found, VoiceStateChanged) and found.after.channel_id is None))
        await asyncio.sleep(0)
        place.world.voice_kick(ada.id)
        await out
        await person.wait_until_closed()
        assert person.closures == [4014]
        assert place.world.users_in(place.lounge) == []


@pytest.mark.parametrize(
    "weather",
    [
        Impairments(padding=0.3, extensions=0.8, csrc=0.3, seed=1),
        Impairments(rtcp=0.3, junk=0.5, other_payload=0.3, pure_padding=0.3, seed=2),
        Impairments(duplicate=0.3, seed=3),
        Impairments(jitter_ms=15, delay_ms=5, seed=4),
    ],
    ids=["dressed", "crowded", "doubled", "late"],
)
async def test_daily_life_on_the_wire_costs_nothing(place: "VoicePlace", tone: Tone, weather: Impairments) -> None:
    """Padding, extensions, CSRCs, strangers, duplicates and jitter: each packet is heard once, in order, bit for bit."""
    ada, ben = place.people[:2]
    place.voice.relay.impair(ben.id, downlink=weather)
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        await speaker.say(tone(0.3))
        await listener.wait_until(lambda: listener.heard.opus(ada.id) == speaker.said.opus())


async def test_what_the_relay_lost_is_what_was_not_heard(place: "VoicePlace", tone: Tone) -> None:
    """The relay's counters and its record account for each packet that is missing."""
    ada, ben = place.people[:2]
    place.voice.relay.impair(ben.id, downlink=Impairments(lost=frozenset({2, 3, 9})))
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        await speaker.say(tone(0.3))
        await listener.wait_for_audio(ada.id, 0.24)
        spoken = speaker.said.opus()
        assert listener.heard.opus(ada.id) == [opus for index, opus in enumerate(spoken) if index not in (2, 3, 9)]
        await listener.wait_until(lambda: len(listener.heard.packets(ada.id)) == 17)
        assert place.voice.relay.counts(ben.id)["down.lost"] == 3
        assert place.voice.relay.sent_to(ben.id) == 17
        assert [packet.payload for packet in place.voice.relay.forwarded[ben.id]] == [p.opus for p in listener.heard.packets(ada.id)]


async def test_impatience_is_an_error(place: "VoicePlace") -> None:
    """Waiting for somebody who never speaks ends with TimeoutError."""
    async with Person(place, place.people[0], place.lounge) as person:
        with pytest.raises(TimeoutError, match="in vain"):
            await person.wait_for_audio(seconds=1, timeout_s=0.01)
