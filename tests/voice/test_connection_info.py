"""Voice state and voice server, in any order."""

import asyncio

from discordplex.loopback.clock import settle
from discordplex.voice.connection_info import ConnectionInfo, ConnectionInfoCollector


def test_an_invitation_needs_both_halves() -> None:
    """In either order, the second half completes it; secrets are not shown."""
    for order in ((0, 1), (1, 0)):
        info_collector = ConnectionInfoCollector()
        for half in order:
            assert info_collector.current is None
            if half:
                info_collector.served("token", "host:1")
            else:
                info_collector.entered("session")
        assert info_collector.current == ConnectionInfo(1, "session", "token", "host:1")
        assert "token" not in repr(info_collector.current)


def test_only_news_counts() -> None:
    """The same server again is no news; another token or endpoint is; a server that is taken away leaves nothing."""
    info_collector = ConnectionInfoCollector()
    info_collector.entered("session")
    assert info_collector.served("token", "host:1")
    assert not info_collector.served("token", "host:1")
    assert not info_collector.served("token", None)
    assert info_collector.current is None
    assert info_collector.served("token", "host:2")
    assert info_collector.current == ConnectionInfo(2, "session", "token", "host:2")


def test_our_own_absence_is_no_removal() -> None:
    """While entering anew, the first empty voice state is our own doing; any other is somebody else's."""
    info_collector = ConnectionInfoCollector()
    info_collector.entered("one")
    info_collector.expect_reentry()
    assert not info_collector.left()
    info_collector.entered("two")
    assert info_collector.left()
    assert info_collector.removed


def test_an_absence_that_did_not_come_is_not_expected_for_ever() -> None:
    """Once we are back in, an empty voice state is a removal again."""
    info_collector = ConnectionInfoCollector()
    info_collector.entered("one")
    info_collector.expect_reentry()
    info_collector.entered("two")
    assert info_collector.left()


async def test_waiting_ends_with_the_newer_one() -> None:
    """Connection info that is known already does not count, the next one does, and a removal ends the wait."""
    info_collector = ConnectionInfoCollector()
    info_collector.entered("session")
    info_collector.served("token", "host:1")
    known = await info_collector.next_after(0, timeout_s=None)
    assert known is not None
    waiting = asyncio.create_task(info_collector.next_after(known.number, timeout_s=5))
    await asyncio.sleep(0)
    info_collector.served("new", "host:1")
    assert await waiting == ConnectionInfo(2, "session", "new", "host:1")
    waiting = asyncio.create_task(info_collector.next_after(2, timeout_s=5))
    await asyncio.sleep(0)
    info_collector.left()
    assert await waiting is None


async def test_waiting_ends_with_the_time() -> None:
    """Where nothing comes, None does."""
    assert await ConnectionInfoCollector().next_after(0, timeout_s=0.001) is None


async def test_leaving_as_the_server_is_named_is_not_lost() -> None:
    """Whoever waits for connection info and is cancelled in the turn in which it comes has ended, also before Python 3.12."""
    info_collector = ConnectionInfoCollector()
    info_collector.entered("session")
    waiting = asyncio.create_task(info_collector.next_after(0, timeout_s=60))
    await settle()
    info_collector.served("token", "host:1")
    await settle(1)
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
