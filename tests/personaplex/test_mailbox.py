"""Events wait within a bound."""

import asyncio

from discordplex.engine import Audio, Closed, EngineReady, Text
from discordplex.personaplex.mailbox import CAPACITY_BYTES, CAPACITY_EVENTS, Mailbox


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


async def test_sound_is_bounded_in_bytes_too() -> None:
    """Blocks that are longer than usual fill it sooner; words beside them count for nothing, and a block alone always fits."""
    mailbox = Mailbox()
    mailbox.put(Audio(bytes(CAPACITY_BYTES // 2)))
    mailbox.put(Audio(bytes(CAPACITY_BYTES - CAPACITY_BYTES // 2)))
    mailbox.put(Text("x"))
    assert mailbox.dropped == 0
    mailbox.put(Audio(b"1"))
    assert mailbox.dropped == 1
    mailbox.put(Audio(bytes(3 * CAPACITY_BYTES)))
    assert mailbox.dropped == 3
    assert [await mailbox.take(), await mailbox.take()] == [Text("x"), Audio(bytes(3 * CAPACITY_BYTES))]


def test_the_bounds_are_eight_seconds() -> None:
    """A hundred blocks of 80 ms; and twice the bytes of eight seconds at 48 kHz."""
    assert (CAPACITY_EVENTS, CAPACITY_BYTES) == (100, 1_536_000)
