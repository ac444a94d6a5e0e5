"""Events wait within a bound."""

import asyncio

from discordplex.engine import Audio, Closed, EngineReady, Text
from discordplex.personaplex.mailbox import CAPACITY_EVENTS, Mailbox


async def test_events_come_out_in_order() -> None:
    """First in, first out, also for a consumer that was there first."""
    mailbox = Mailbox()
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    mailbox.put(EngineReady())
    mailbox.put(Text("a"))
    assert [await waiting, await mailbox.take()] == [EngineReady(), Text("a")]


async def test_a_full_mailbox_forgets_the_oldest_audio_and_nothing_else() -> None:
    """Words and the end of the conversation are kept; lost audio is counted."""
    mailbox = Mailbox()
    mailbox.put(Text("first"))
    for block in range(CAPACITY_EVENTS):
        mailbox.put(Audio(bytes([block])))
    mailbox.put(Closed("gone"))
    events = [await mailbox.take() for _ in range(CAPACITY_EVENTS)]
    assert mailbox.dropped == 2
    assert events[:2] == [Text("first"), Audio(b"\x02")]
    assert events[-1] == Closed("gone")


async def test_text_alone_is_bounded_too() -> None:
    """Where there is no audio to forget, the oldest text goes."""
    mailbox = Mailbox()
    for _ in range(CAPACITY_EVENTS + 5):
        mailbox.put(Text("x"))
    assert mailbox.dropped == 5
