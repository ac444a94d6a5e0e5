"""Every Opus packet that was sent is the one that comes out at the other end, bit for bit, in order, once: both ways, in every mode."""

import asyncio
import functools

import pytest

from discordplex.audio.opus import OpusDecoder
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.voice.rtp.encryption import MODES
from tests.voice.booth import SOAK, Library, noise
from tests.voice.conftest import OpenBooth

FRAMES = 150 if SOAK else 15
SPEECH = noise(FRAMES, channels=1)
REPLY = noise(FRAMES, seed=2)

CALLS: list[tuple[Library | None, Library | None]] = [("libdave", "davey"), (None, None)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("libraries", CALLS, ids=["encrypted", "clear"])
async def test_every_packet_arrives_as_it_was_made(open_booth: OpenBooth, mode: str, libraries: tuple[Library | None, ...]) -> None:
    """Two people and the bot talk at once; whoever encrypts shows one privacy code, and leaving leaves nothing behind."""
    calls = functools.partial(VoiceGatewayServer, modes=(mode,), dave=libraries[0] is not None)
    async with open_booth(voice=calls) as booth:
        async with booth.person(0, e2ee=libraries[0]) as ada, booth.person(1, e2ee=libraries[1]) as ben:
            link = await booth.connect()
            assert link.people == {int(ada.user.id), int(ben.user.id)}
            if libraries[0]:
                await booth.settled(3, ada, ben)
            booth.mouth.say(REPLY)
            await asyncio.gather(ada.say(SPEECH), ben.say(SPEECH))
            await booth.hears(ada, ben)
            await booth.is_heard_by(ada, ben)
            assert len(ada.said.opus()) == len(ben.said.opus()) == len(booth.mouth.said) == FRAMES
            decoder = OpusDecoder()
            assert booth.ear.pcm[int(ada.user.id)].startswith(b"".join(decoder.decode(packet) for packet in ada.said.opus()))
            codes = {person.member.privacy_code for person in (ada, ben) if person.member}
            assert codes == ({link.privacy_code} if libraries[0] else set())
            await link.disconnect()
        assert booth.left_nothing()
        assert [booth.counted(name) for name in ("rx.lost", "rx.unopened", "rx.unencrypted", "tx.dropped", "wire.faults")] == [0] * 5
