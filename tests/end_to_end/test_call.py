"""One call through every room: a person speaks on a real Discord wire, an engine answers over its own, the bot is between them."""

import itertools
from collections.abc import Mapping

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.loopback.personaplex.log import AudioReceived, Connected, ConversationClosed, HandshakeSent, MessageDiscarded
from discordplex.loopback.personaplex.server import StandInServer
from tests.audio.signals import samples
from tests.end_to_end.sound import LOUD, SECOND, best_lag, lag_samples, level_db
from tests.home import Home, home_with

SEGMENT = SECOND // 2
REACH = SECOND // 4
"""How far around its place a half second is looked for."""
MOVES = (".underruns", ".stalls", ".trimmed", ".stretched", ".overruns", ".expired", ".skipped")
"""What the bot counts where the machine was late and a buffer made up for it."""
STEADY_SAMPLES = 2 * ENGINE.frame_samples
"""How far a half second's lag may lie from the usual one: two frames, since the playout may give a frame up or take one in."""
ADAPTED_SAMPLES = 150 * SECOND // 1000
"""The same on a bad network or a busy machine: what the buffers may hold at most."""
SETTLED_SHARE = 0.7
"""Of the half seconds; in the others the buffers learnt what to hold, or much was concealed."""


async def echo_of(home: Home, speech: bytes, *, audible_s: float) -> tuple[bytes, bytes]:
    """A person enters, speaks, and hears the bot: what was said and what was heard, on one clock."""
    channel = home.lounge
    async with Person(home.discord, home.discord.people[0], channel.id) as person:
        await home.says(channel, "Go ahead")
        await person.say(speech)
        await person.wait_for_audio(home.bot.id, audible_s, timeout_s=30)
        return person.said.pcm(home.discord.people[0].id), person.heard.pcm(home.bot.id)


def segments_lags(heard: bytes, said: bytes) -> list[int]:
    """The echo's lag in every half second that has sound in it, measured apart, relative to the whole's."""
    offset = lag_samples(heard, said)
    original, echo = samples(said), np.pad(samples(heard), SECOND)
    found = []
    for start in range(0, len(original) - SEGMENT, SEGMENT):
        piece = original[start : start + SEGMENT]
        if np.sqrt(np.mean(piece**2)) > LOUD:
            begin = SECOND + offset + start - REACH
            found.append(best_lag(echo[begin : begin + SEGMENT + 2 * REACH], piece) - REACH)
    return found


def shifts_of(lags: list[int], tolerance: int = STEADY_SAMPLES) -> int:
    """How often the lag changes by more than `tolerance` from one half second to the next."""
    return sum(abs(after - before) > tolerance for before, after in itertools.pairwise(lags))


def moves_of(counts: Mapping[str, float]) -> float:
    """How often the bot made up for a late machine or network, as it counts it."""
    return sum(counts[name] for name in counts if name.endswith(MOVES))


def settled_share(lags: list[int], tolerance: int) -> float:
    """How many of the half seconds have the usual lag, give or take `tolerance` samples."""
    usual = float(np.median(lags))
    return sum(abs(lag - usual) <= tolerance for lag in lags) / len(lags)


async def test_what_is_said_comes_back(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through Discord, bot and an echoing engine and back: aligned, no gap, no doubled frame, the same level within 1 dB."""
    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch) as home:
        said, heard = await echo_of(home, speech, audible_s=3.0)
        counts = home.metrics.snapshot()
    assert abs(level_db(heard) - level_db(said)) < 1.0
    lags = segments_lags(heard, said)
    assert len(lags) >= 6
    assert shifts_of(lags) <= moves_of(counts), "the timeline moved, and nobody counted it"
    assert settled_share(lags, ADAPTED_SAMPLES) == 1, lags


async def test_the_timeline_stays_whole_on_a_bad_network(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, duplicates, reordering, padding, extensions and junk: the call goes on, and what is heard stays where it was said."""
    bad = Impairments(loss=0.05, duplicate=0.03, reorder=0.03, padding=0.15, extensions=0.3, junk=0.05, seed=7)
    discord = LoopbackDiscord(impairments=bad)
    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch, discord=discord) as home:
        said, heard = await echo_of(home, speech, audible_s=2.5)
        snapshot = home.metrics.snapshot()
    lags = segments_lags(heard, said)
    assert len(lags) >= 6
    assert settled_share(lags, ADAPTED_SAMPLES) >= SETTLED_SHARE, lags
    assert snapshot["voice.rx.concealed"] == snapshot["voice.rx.lost"] > 0


async def test_the_engine_sees_a_well_behaved_client(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing before the handshake, 50 pages a second from then to the end, silence included, one connection, a clean close."""
    async with StandInServer(mode="echo", prompt_step_ms=5) as engine, home_with(engine, monkeypatch=monkeypatch) as home:
        await echo_of(home, speech, audible_s=2.0)
        await home.sits_in(None)
        await engine.log.wait_for(lambda log: log.of(ConversationClosed))
        skipped = home.metrics.snapshot()["uplink.skipped"]
    assert len(engine.log.of(Connected)) == 1
    assert engine.log.of(MessageDiscarded) == []
    assert [record.code for record in engine.log.of(ConversationClosed)] == [1000]
    began = engine.log.of(HandshakeSent)[0].at
    pages = [record for record in engine.log.of(AudioReceived) if record.samples]
    expected = (engine.log.of(ConversationClosed)[0].at - began) * ENGINE.frames_per_second
    assert abs(len(pages) + skipped - expected) <= 10  # what a busy machine swallowed is not sent in a burst afterwards
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(pages)]
    assert np.median(gaps) == pytest.approx(ENGINE.frame_seconds, abs=0.004)


async def test_everybody_leaves_and_nothing_is_left(speech: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last person goes: the bot leaves the channel and the engine's socket is closed."""
    async with StandInServer(mode="echo") as engine, home_with(engine, monkeypatch=monkeypatch) as home:
        await echo_of(home, speech[: SECOND * 2], audible_s=0.3)
        await home.sits_in(None, timeout_s=5)
        await engine.log.wait_for(lambda log: log.of(ConversationClosed), timeout_s=5)
