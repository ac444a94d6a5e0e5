"""Calls that outlast the memory of their model: whole, with a real wire on both sides."""

import asyncio
import functools
from typing import TypeAlias

import numpy as np
import pytest

from discordplex.audio.format import ENGINE
from discordplex.audio.samples import rms_of
from discordplex.bot import login, texts
from discordplex.bot.call import voice_status
from discordplex.bridge.handover_timing import HandoverRule
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.personaplex.log import AudioReceived, Connected, ConversationClosed, HandshakeSent, PromptsLoading
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.loopback.personaplex.voice_model import ModelOutput
from discordplex.loopback.timeouts import FACTOR
from tests.audio.signals import samples
from tests.end_to_end.sound import SECOND
from tests.home import home_with

Signal: TypeAlias = "np.ndarray[tuple[int], np.dtype[np.float64]]"

WORD_S, GAP_S, PAUSE_S = 0.4, 0.3, 1.2
WORDS_TO_A_SENTENCE = 2
WINDOW = ENGINE.frame_samples
SHORTEST = 3
"""Windows of a stretch that is a word, and not the edge of one whose pitch is not clear."""
TORN = round(2 * FACTOR)
"""Silent windows within a word: a busy machine may tear it, but all of it has to be heard."""


def pitch(number: int) -> float:
    """Each word has a pitch of its own, far enough from every other one for a window of 20 ms."""
    return 400.0 + 100.0 * number


def word(number: int) -> Signal:
    """A tone with soft edges."""
    time = np.arange(round(WORD_S * SECOND)) / SECOND
    edges = np.minimum(1, np.minimum(time, WORD_S - time) / 0.02)
    return np.asarray(8000 * edges * np.sin(2 * np.pi * pitch(number) * time))


def sentences(count: int) -> bytes:
    """So many words, with short gaps between them and a pause after each sentence."""
    pieces = []
    for number in range(count):
        ends = number % WORDS_TO_A_SENTENCE == WORDS_TO_A_SENTENCE - 1
        pieces += [word(number), np.zeros(round((PAUSE_S if ends else GAP_S) * SECOND))]
    return bytes(np.concatenate(pieces).astype("<i2").tobytes())


def heard_words(pcm: bytes, count: int) -> list[tuple[int, int, float]]:
    """For each stretch of sound of one pitch: which word, how many windows, and how loud."""
    signal = samples(pcm)
    signal = signal[: len(signal) // WINDOW * WINDOW].reshape(-1, WINDOW)
    time = np.arange(WINDOW) / SECOND
    waves = np.stack([np.exp(-2j * np.pi * pitch(number) * time) for number in range(count)], axis=1)
    loud = np.sqrt(np.mean(signal**2, axis=1))
    strongest = np.argmax(np.abs(signal @ waves), axis=1)
    found: list[tuple[int, int, float]] = []
    silent = 0
    for level, number in zip(loud, strongest, strict=True):
        if level < 800:
            silent += 1
            continue
        if found and found[-1][0] == number and silent <= TORN:
            _, length, most = found[-1]
            found[-1] = (int(number), length + 1, max(most, float(level)))
        else:
            found.append((int(number), 1, float(level)))
        silent = 0
    return [one for one in found if one[1] >= SHORTEST]


class SayingEcho:
    """Returns what it hears, with a word of text where a sound begins."""

    def __init__(self) -> None:
        self._is_loud = False

    def step(self, heard: bytes) -> ModelOutput:
        """The same step."""
        was_loud, self._is_loud = self._is_loud, rms_of(heard) > 0.02
        return ModelOutput(heard, (" beep",) if self._is_loud and not was_loud else ())


def conversations(engine: StandInServer) -> list[HandshakeSent]:
    """All that the server had, one after another: it must never have had two at once."""
    kinds = [type(record) for record in engine.log if isinstance(record, Connected | ConversationClosed)]
    assert kinds[0::2] == [Connected] * len(kinds[0::2])
    assert kinds[1::2] == [ConversationClosed] * len(kinds[1::2])
    return engine.log.of(HandshakeSent)


def server(prompt_step_ms: float) -> StandInServer:
    return StandInServer(mode="echo", model=SayingEcho, prompt_step_ms=prompt_step_ms)


async def test_a_call_outlasts_the_memory_of_its_model_and_nobody_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers: every word is heard once, whole and as loud as it was said; each next conversation has persona and recap."""
    count = 20
    async with server(5) as one, server(5) as two:
        async with home_with(one, two, monkeypatch=monkeypatch, memory_s=6) as home:
            async with Person(home.discord, home.ada, home.lounge.id) as person:
                await home.says(home.lounge, "Go ahead")
                await person.say(sentences(count))
                await asyncio.sleep(0.5)  # the echo's way back
                heard = person.heard.pcm(home.bot.id)
            await home.sits_in(None)
            metrics = home.metrics.snapshot()
            assert not any(texts.calls.RENEWING in text for text in home.texts(home.lounge))
        opened = sorted([*conversations(one), *conversations(two)], key=lambda record: record.at)
    handed_over = metrics["handover.taken_over"]
    assert handed_over >= 3
    assert len(opened) >= handed_over + 1
    for record in opened:
        assert record.voice == opened[0].voice
        assert record.text_prompt.startswith(opened[0].text_prompt)
    for record in opened[1:]:
        assert 'You said: "' in record.text_prompt
        assert "beep" in record.text_prompt
    words = heard_words(heard, count)
    assert [number for number, _, _ in words] == list(range(count))
    assert all(abs(length * 0.02 - WORD_S) <= 0.06 for _, length, _ in words), words
    levels = 20 * np.log10([level for _, _, level in words])
    assert np.ptp(levels) < 1.5


async def test_a_newcomer_goes_before_a_next_conversation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The spare server is left within a second, and the newcomer's call begins there within its handshake."""
    monkeypatch.setattr(login, "HandoverRule", functools.partial(HandoverRule, prepare_share=0.1))
    async with server(5) as one, server(5) as two:
        async with home_with(one, two, monkeypatch=monkeypatch, memory_s=30) as home:
            other = home.discord.guilds[1].voice_channels[0]
            async with Person(home.discord, home.ada, home.lounge.id) as person:
                await home.says(home.lounge, "Go ahead")
                speaking = asyncio.create_task(person.say(bytes(np.tile(word(3), 40).astype("<i2").tobytes())))
                spare = two if conversations_open(one) else one
                await spare.log.wait_for(lambda log: log.of(HandshakeSent))
                home.discord.enter(home.ben, other)
                entered = asyncio.get_running_loop().time()
                await spare.log.wait_for(lambda log: log.of(ConversationClosed))
                left_s = asyncio.get_running_loop().time() - entered
                await home.says(other, "Go ahead")
                await spare.log.wait_for(lambda log: len(log.of(HandshakeSent)) == 2)
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)
                home.discord.leave(home.ben)
            await home.sits_in(None)
        closed = spare.log.of(ConversationClosed)[0].at
        newcomers = spare.log.of(HandshakeSent)[1]
        assert "You said" not in newcomers.text_prompt
        assert newcomers.at - closed < 2
        assert left_s < 2  # the bot joins first
        conversations(one)
        conversations(two)


def conversations_open(engine: StandInServer) -> bool:
    return len(engine.log.of(Connected)) > len(engine.log.of(ConversationClosed))


async def test_one_server_renews_its_conversation_in_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is heard for the handshake and half a second; who speaks then is told, once; no word before it is cut."""
    monkeypatch.setattr(voice_status, "INTERVAL_S", 0.2)
    async with server(20) as engine:
        async with home_with(engine, monkeypatch=monkeypatch, memory_s=10) as home:
            async with Person(home.discord, home.ada, home.lounge.id) as person:
                await home.says(home.lounge, "Go ahead")
                await person.say(sentences(6))
                await engine.log.wait_for(lambda log: len(log.of(PromptsLoading)) == 2)
                await home.discord.wait_for(lambda: home.lounge.status == texts.waiting.RENEWING)
                await person.say(bytes(word(3).astype("<i2").tobytes()))
                await home.says(home.lounge, texts.calls.RENEWING)
                await home.says(home.lounge, texts.calls.RENEWED)
                heard = person.heard.pcm(home.bot.id)
            await home.sits_in(None)
        first, second = conversations(engine)[:2]
        loading = engine.log.of(PromptsLoading)[1]
        last = max(record.at for record in engine.log.of(AudioReceived, client=1))
        assert loading.at - last < 0.5
        assert second.text_prompt.startswith(first.text_prompt)
        assert "beep" in second.text_prompt
    assert [number for number, _, _ in heard_words(heard, 6)] == list(range(6))
