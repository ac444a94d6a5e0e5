"""Stages: who enters one has to be let speak."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from discordplex.bot import texts
from discordplex.bot.call import joining
from discordplex.bot.call.interface import Next, Outcome
from discordplex.bot.call.joining import take_the_stage
from discordplex.bot.chat.notices import Notices
from discordplex.bot.place import Place
from discordplex.loopback.clock import FakeClock, settle
from discordplex.metrics import Metrics
from tests.bot.fakes import FakeChannel, ScriptedVoiceChannel


@pytest.fixture
async def notices(clock: FakeClock) -> AsyncIterator[Notices]:
    notices = Notices(clock=clock, metrics=Metrics())
    yield notices
    await notices.close()


@pytest.fixture
def voice_channel(channel: FakeChannel) -> ScriptedVoiceChannel:
    return ScriptedVoiceChannel(Place(1, 11), channel, suppressed=True)


async def test_a_voice_channel_needs_no_asking(voice_channel: ScriptedVoiceChannel, notices: Notices) -> None:
    """Who is not in an audience may speak."""
    voice_channel.suppressed = False
    assert await take_the_stage(voice_channel, notices=notices, changed=asyncio.Event()) is None
    assert voice_channel.asked_to_speak == 0


async def test_it_asks_and_waits_until_it_is_let(voice_channel: ScriptedVoiceChannel, notices: Notices, channel: FakeChannel) -> None:
    """It says so once; what else happens in the channel changes nothing."""
    changed = asyncio.Event()
    taking = asyncio.create_task(take_the_stage(voice_channel, notices=notices, changed=changed))
    await settle()
    assert voice_channel.asked_to_speak == 1
    assert channel.texts == [texts.waiting.ASKED_TO_SPEAK]
    changed.set()
    await settle()
    assert not taking.done()
    voice_channel.suppressed = False
    changed.set()
    assert await taking is None


async def test_nobody_lets_it(voice_channel: ScriptedVoiceChannel, notices: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while it gives up, in words."""
    monkeypatch.setattr(joining, "PATIENCE_S", 0.01)
    assert await take_the_stage(voice_channel, notices=notices, changed=asyncio.Event()) == Outcome(texts.waiting.NOT_LET_SPEAK, Next.DONE)


async def test_it_may_not_even_ask(voice_channel: ScriptedVoiceChannel, notices: Notices, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discord refuses: it is not waited for."""

    async def refuse(*, take: bool) -> bool:
        raise OSError(take)

    monkeypatch.setattr(voice_channel, "ask_to_speak", refuse)
    assert await take_the_stage(voice_channel, notices=notices, changed=asyncio.Event()) == Outcome(texts.waiting.STAGE_CLOSED, Next.DONE)
