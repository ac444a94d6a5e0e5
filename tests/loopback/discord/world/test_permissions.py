"""Tests of discordplex.loopback.discord.world.permissions."""

import pytest

from discordplex.loopback.discord.world.permissions import ALL, BITS, MEMBER, ROLE, Overwrite, bit, in_channel

VIEW, CONNECT, SPEAK = BITS["view_channel"], BITS["connect"], BITS["speak"]


def computed(base: int, *overwrites: Overwrite) -> int:
    table = {overwrite.target_id: overwrite for overwrite in overwrites}
    return in_channel(base=base, everyone_id="everyone", role_ids=["role"], member_id="me", overwrites=table)


def test_the_member_has_the_last_word() -> None:
    """Everybody's overwrite yields to the roles', and theirs to the member's own."""
    everyone = Overwrite("everyone", ROLE, deny=CONNECT)
    role = Overwrite("role", ROLE, allow=CONNECT)
    member = Overwrite("me", MEMBER, deny=CONNECT)
    assert computed(VIEW | CONNECT, everyone) == VIEW
    assert computed(VIEW | CONNECT, everyone, role) == VIEW | CONNECT
    assert computed(VIEW | CONNECT, everyone, role, member) == VIEW


def test_who_sees_nothing_may_nothing() -> None:
    """Without the right to see a channel every other right in it is void."""
    assert computed(VIEW | CONNECT | SPEAK, Overwrite("everyone", ROLE, deny=VIEW)) == 0


def test_an_administrator_is_above_overwrites() -> None:
    """No overwrite takes anything from an administrator."""
    assert computed(BITS["administrator"], Overwrite("me", MEMBER, deny=VIEW)) == ALL


def test_a_permission_has_a_name() -> None:
    """A bit passes, a name is looked up, and a wrong name says which ones there are."""
    assert bit("connect") == bit(1 << 20) == 1 << 20
    with pytest.raises(KeyError, match=r"no permission .conect.; there are .*connect"):
        bit("conect")
