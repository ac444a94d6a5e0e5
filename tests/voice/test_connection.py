"""VoiceConnection inside a real py-cord bot, on the loopback Discord."""

import asyncio
import errno
import socket
from types import SimpleNamespace

import pytest

from discordplex.errors import VoiceError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.voice.impairments import Impairments
from discordplex.voice.events import Lost, PersonJoined
from discordplex.voice.rtp import socket as voice_socket
from tests.voice.booth import Booth, tone

SENTENCE = tone(0.2, channels=1)
FRAMES = 15
"""What a person sends for it: 10 frames, and the five frames of silence that end it."""


def kinds(booth: Booth) -> list[str]:
    return [type(event).__name__ for event in booth.events]


async def test_a_kicked_bot_is_out(booth: Booth) -> None:
    """Somebody disconnects the bot: that is final, py-cord knows it, and a later disconnect does no harm."""
    link = await booth.connect()
    booth.loopback.kick_from_voice(booth.bot_id)
    await booth.until(lambda: "Lost" in kinds(booth))
    lost = booth.events[-1]
    assert isinstance(lost, Lost)
    assert lost.final
    assert not lost.may_retry
    assert lost.reason == "The bot was removed from the voice channel."
    assert booth.left_nothing()
    await link.disconnect()


async def test_what_cannot_be_mended_is_final(booth: Booth) -> None:
    """After 4021 nothing is tried again: the loss is final, with its code and a sentence."""
    await booth.connect()
    booth.loopback.voice.close_connection(booth.bot_id, 4021)
    await booth.until(lambda: "Lost" in kinds(booth))
    lost = booth.events[-1]
    assert isinstance(lost, Lost)
    assert (lost.code, lost.final, lost.may_retry) == (4021, True, True)
    await booth.loopback.wait_for(booth.left_nothing)


@pytest.mark.parametrize(("code", "words"), [(4017, "demands end-to-end encryption"), (4016, "does not know the transport encryption")])
async def test_a_refusal_for_good_is_explained(booth: Booth, code: int, words: str) -> None:
    """Close codes 4017 and 4016 make connect() fail with one sentence and the code, and nothing is left behind."""
    booth.loopback.voice.refuse(booth.bot_id, code)
    with pytest.raises(VoiceError, match=words) as refused:
        await booth.connect()
    assert refused.value.code == code
    await booth.loopback.wait_for(booth.left_nothing)


async def test_a_full_channel_is_explained(booth: Booth) -> None:
    """Discord does not answer where the bot may not enter; connect() gives up with a sentence."""
    booth.loopback.limit_users(booth.lounge, 1)
    booth.loopback.enter(booth.ada, booth.lounge)
    with pytest.raises(VoiceError, match="full, or the bot may lack the permission"):
        await booth.connect(timeout_s=0.1)
    assert booth.left_nothing()


async def test_a_limit_of_files_is_explained(booth: Booth, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no datagram socket can be opened, connect() gives up with what to do about it, and no fault of ours is reported."""

    def full(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(voice_socket, "socket", SimpleNamespace(**{**vars(socket), "socket": full}))
    with pytest.raises(VoiceError, match=r"limit of open files.*ulimit"):
        await booth.connect(timeout_s=1.0)
    assert booth.left_nothing()


async def test_a_refused_identify_is_tried_again(booth: Booth) -> None:
    """A token that is refused once leads to a new session, within the same connect()."""
    booth.loopback.voice.refuse(booth.bot_id, 4004)
    link = await booth.connect()
    assert link.ssrc is not None


async def test_a_cancelled_connect_leaves_nothing(booth: Booth) -> None:
    """Whoever stops waiting for connect() finds the bot outside."""
    booth.loopback.voice.delay_control(booth.bot_id, 30.0)
    connecting = asyncio.create_task(booth.connect())
    await booth.loopback.wait_for(lambda: booth.loopback.voice_state(booth.bot_id))
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    await booth.loopback.wait_for(booth.left_nothing)


async def test_disconnect_in_the_middle_of_a_repair(booth: Booth) -> None:
    """Leaving while the connection is being repaired, and leaving twice at once, ends both and tells of no final loss."""
    link = await booth.connect()
    booth.loopback.voice.close_connection(booth.bot_id, 4006)
    await booth.until(lambda: "Lost" in kinds(booth))
    await asyncio.gather(link.disconnect(), link.disconnect(force=True))
    assert not booth.bot.voice_clients
    assert not [event for event in booth.events if isinstance(event, Lost) and event.final]
    await booth.loopback.wait_for(booth.left_nothing)


async def test_people_come_and_go(booth: Booth) -> None:
    """Each person is announced once, whether they were there before or come later."""
    async with booth.person(0) as ada:
        link = await booth.connect()
        async with booth.person(1) as ben:
            await booth.until(lambda: int(ben.user.id) in link.people)
        await booth.until(lambda: int(ben.user.id) not in link.people)
        ids = [int(person.user.id) for person in (ada, ben)]
        assert booth.events == [PersonJoined(ids[0]), PersonJoined(ids[1])]


async def test_frames_before_the_name_are_not_lost(booth: Booth) -> None:
    """Audio that arrives before Discord says whose it is, is heard once it has."""
    booth.loopback.voice.delay_speaking(booth.ada.id, 0.3)
    async with booth.person() as ada:
        await booth.connect()
        await ada.say(SENTENCE)
        await booth.until(lambda: booth.ear.frames(booth.ada.id) == FRAMES)


async def counted(booth: Booth, name: str, at_least: int) -> None:
    while booth.counted(name) < at_least:  # noqa: ASYNC110 - what is thrown away wakes nobody
        await asyncio.sleep(0)


async def test_who_opted_out_is_not_decoded(booth: Booth) -> None:
    """Ignored people are dropped as packets; others are heard."""
    async with booth.person(0) as ada, booth.person(1) as ben:
        link = await booth.connect()
        link.ignore([int(ada.user.id)])
        await asyncio.gather(ada.say(SENTENCE), ben.say(SENTENCE))
        await booth.until(lambda: booth.ear.frames(ben.user.id) == FRAMES)
        assert booth.ear.frames(ada.user.id) == 0
        assert booth.counted("rx.ignored") >= FRAMES
        ignored = booth.counted("rx.ignored")
        link.deafen(deaf=True)
        await ben.say(SENTENCE)
        await timeouts.wait_for(counted(booth, "rx.ignored", ignored + FRAMES), 5)
        link.deafen(deaf=False)
        assert booth.ear.frames(ben.user.id) == FRAMES
        await asyncio.gather(ada.say(SENTENCE), ben.say(SENTENCE))
        await booth.until(lambda: booth.ear.frames(ben.user.id) == 2 * FRAMES)
        assert booth.ear.frames(ada.user.id) == 0


async def test_a_dirty_network_is_heard_through(booth: Booth) -> None:
    """Padding, extensions, duplicates, reordering and junk leave every frame in its place; nothing raises."""
    dirt = Impairments(duplicate=0.1, reorder=0.1, padding=0.3, extensions=0.5, csrc=0.2, junk=0.2, seed=7)
    booth.loopback.voice.relay.impair(booth.bot_id, downlink=dirt)
    async with booth.person() as ada:
        await booth.connect()
        await ada.say(SENTENCE)
        await booth.until(lambda: booth.ear.frames(booth.ada.id) == FRAMES)
        assert booth.counted("rx.lost") == 0
        assert booth.counted("wire.faults") == 0
