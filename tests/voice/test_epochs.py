"""People come and go while others talk: what a change of keys may cost, and what it may not."""

import asyncio
import contextlib
import functools
import itertools

from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from tests.voice.booth import SOAK, Booth, Library, noise
from tests.voice.conftest import SideBySide

VISITS = 4
SLOW_S = 0.15
TALK_FRAMES, REPLY_FRAMES = (650, 700) if SOAK else (125, 130)
"""At least; where the visits take longer, everybody goes on talking until the last visitor has left."""

encrypted_calls = functools.partial(VoiceGatewayServer, dave=True)


async def talk(person: Person, over: asyncio.Event) -> None:
    """Speak for as long as the visits last."""
    await person.say(noise(TALK_FRAMES, channels=1))
    for seed in itertools.takewhile(lambda _: not over.is_set(), itertools.count(100)):
        await person.say(noise(10, channels=1, seed=seed))


async def visits(booth: Booth) -> None:
    """Four times somebody comes and goes: eight changes of keys."""
    for visit in range(VISITS):
        library: Library = "davey" if visit % 2 else "libdave"
        async with booth.person(2, e2ee=library):
            await booth.settled(4)
        await booth.settled(3)


async def call_with_visits(booth: Booth, *, slow: str | None) -> None:
    """Two people and the bot talk; the control channel of one side may be slow."""
    async with booth.person(0, e2ee="libdave") as ada, booth.person(1, e2ee="davey") as ben:
        link = await booth.connect()
        await booth.settled(3, ada, ben)
        for user_id in {"bot": [booth.bot_id], "people": [ada.user.id, ben.user.id]}.get(slow or "", []):
            booth.loopback.voice.delay_control(user_id, SLOW_S)
        over = asyncio.Event()
        booth.mouth.say(noise(REPLY_FRAMES))
        talking = asyncio.gather(talk(ada, over), talk(ben, over))
        await visits(booth)
        over.set()
        await talking
        await booth.hears(ada)
        await booth.is_heard_by(ada, ben)
        await hears_davey(booth, ben, whole=slow != "bot")
        assert len(booth.delivery().epochs) >= 2 * VISITS + 1
        assert ada.member
        assert link.privacy_code == ada.member.privacy_code
        assert booth.counted("tx.dropped") == 0


async def ends_alike(booth: Booth, ben: Person) -> bool:
    """Whether the last packet that Ben has sent is heard, soon."""
    with contextlib.suppress(asyncio.TimeoutError):
        await booth.until(lambda: booth.ear.heard(ben.user.id)[-1:] == ben.said.opus()[-1:], timeout_s=1.0)
        return True
    return False


async def hears_davey(booth: Booth, ben: Person, *, whole: bool) -> None:
    """What of a davey peer cannot be opened yet is filled in, where that is `whole`; the rest comes in order, and nothing else does."""
    for seed in range(200, 220):
        if await ends_alike(booth, ben):
            break
        await ben.say(noise(10, channels=1, seed=seed))  # the last packet came before its key: only a later one can tell that all came
    heard, said = booth.ear.heard(ben.user.id), ben.said.opus()
    opened = [packet for packet in heard if packet is not None]
    assert opened == [packet for packet in said if packet in set(opened)]
    if whole:
        assert len(heard) == len(said)


async def test_eight_changes_of_keys_cost_nothing(side_by_side: SideBySide) -> None:
    """While two people and the bot talk: every packet of the libdave peer is heard, and both peers hear every packet of the bot.

    So also, in two more calls beside it, with the bot's control channel and with the people's 150 ms behind. A davey peer speaks with its
    new key before it is told to: what we cannot open then is its own loss.
    """
    scenarios = [functools.partial(call_with_visits, slow=slow) for slow in (None, "bot", "people")]
    await side_by_side(*scenarios, voice=encrypted_calls)
