"""Voice state and voice server, in any order."""

import asyncio

from discordplex.voice.connection_info import Invitation, Invitations


def test_an_invitation_needs_both_halves() -> None:
    """In either order, the second half completes it; secrets are not shown."""
    for order in ((0, 1), (1, 0)):
        invitations = Invitations()
        for half in order:
            assert invitations.current is None
            if half:
                invitations.served("token", "host:1")
            else:
                invitations.entered("session")
        assert invitations.current == Invitation(1, "session", "token", "host:1")
        assert "token" not in repr(invitations.current)


def test_only_news_counts() -> None:
    """The same server again is no news; another token or endpoint is; a server that is taken away leaves nothing."""
    invitations = Invitations()
    invitations.entered("session")
    assert invitations.served("token", "host:1")
    assert not invitations.served("token", "host:1")
    assert not invitations.served("token", None)
    assert invitations.current is None
    assert invitations.served("token", "host:2")
    assert invitations.current == Invitation(2, "session", "token", "host:2")


def test_our_own_absence_is_no_removal() -> None:
    """While entering anew, the first empty voice state is our own doing; any other is somebody else's."""
    invitations = Invitations()
    invitations.entered("one")
    invitations.expect_reentry()
    assert not invitations.left()
    invitations.entered("two")
    assert invitations.left()
    assert invitations.removed


def test_an_absence_that_did_not_come_is_not_expected_for_ever() -> None:
    """Once we are back in, an empty voice state is a removal again."""
    invitations = Invitations()
    invitations.entered("one")
    invitations.expect_reentry()
    invitations.entered("two")
    assert invitations.left()


async def test_waiting_ends_with_the_newer_one() -> None:
    """An invitation that is known already does not count, the next one does, and a removal ends the wait."""
    invitations = Invitations()
    invitations.entered("session")
    invitations.served("token", "host:1")
    known = await invitations.next_after(0, timeout_s=None)
    assert known is not None
    waiting = asyncio.create_task(invitations.next_after(known.number, timeout_s=5))
    await asyncio.sleep(0)
    invitations.served("new", "host:1")
    assert await waiting == Invitation(2, "session", "new", "host:1")
    waiting = asyncio.create_task(invitations.next_after(2, timeout_s=5))
    await asyncio.sleep(0)
    invitations.left()
    assert await waiting is None


async def test_waiting_ends_with_the_time() -> None:
    """Where nothing comes, None does."""
    assert await Invitations().next_after(0, timeout_s=0.001) is None
