"""The group alone: who is shown what, whose commit counts, who sits where. Key packages are names here; nothing is encrypted."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.errors import RemoteProtocolError
from discordplex.loopback.discord.voice.dave.group import Accepted, InFlight, ServerGroup
from discordplex.loopback.discord.voice.dave.mls import Commit, KeyPackage, LeafNode, MlsExternalSender, MlsWelcome

GROUP_ID = b"channel."
SENDER = MlsExternalSender()


def package(name: str) -> KeyPackage:
    return KeyPackage(name.encode(), LeafNode(name.encode(), b"", 1, None, b"", b""))


def references(items: Iterable[InFlight]) -> tuple[bytes, ...]:
    return tuple(item.proposal.reference for item in items)


def commit(group: ServerGroup, author: str, items: Iterable[InFlight] | None = None, *, leaf: int | None = None) -> Accepted:
    """Commit what the author was shown, or other proposals."""
    items = list(group.shown_to(author) if items is None else items)
    own = next((place for place, name in group.leaves.items() if name == author), 0)
    secrets = {group.waiting[item.user_id].reference: b"secret" for item in items if item.leaf is None and item.user_id in group.waiting}
    message = Commit(b"commit", GROUP_ID, group.epoch, own if leaf is None else leaf, references(items))
    return group.commit(author, message, MlsWelcome(secrets, b"info") if secrets else None)


def founded(*names: str) -> ServerGroup:
    group = ServerGroup(GROUP_ID, SENDER)
    for name in names:
        group.offer(name, package(name))
    commit(group, names[0])
    return group


def test_nobody_is_shown_their_own_add() -> None:
    """Before there is a group, each sees the adds of all others, also of those who came before."""
    group = ServerGroup(GROUP_ID, SENDER)
    group.offer("ada", package("ada"))
    change = group.offer("ben", package("ben"))
    assert [item.user_id for item in change.proposed] == ["ben"]
    assert [item.user_id for item in change.caught_up["ben"]] == ["ada"]
    assert [item.user_id for item in group.shown_to("ada")] == ["ben"]
    assert [item.user_id for item in group.shown_to("ben")] == ["ada"]


def test_the_first_commit_founds_the_group() -> None:
    """Its author sits at leaf 0 and follows; all others are welcomed, in the commit's order."""
    group = ServerGroup(GROUP_ID, SENDER)
    for name in ("ada", "ben", "cleo"):
        group.offer(name, package(name))
    shown = group.shown_to("ben")
    accepted = commit(group, "ben", shown[::-1])
    assert group.leaves == {0: "ben", 1: "cleo", 2: "ada"}
    assert (accepted.followers, set(accepted.welcomes), group.epoch) == (["ben"], {"ada", "cleo"}, 1)


def test_a_late_commit_does_not_count() -> None:
    """The second commit of an epoch changes nothing."""
    group = ServerGroup(GROUP_ID, SENDER)
    for name in ("ada", "ben"):
        group.offer(name, package(name))
    late = Commit(b"", GROUP_ID, 0, 0, references(group.shown_to("ada")))
    commit(group, "ben")
    with pytest.raises(RemoteProtocolError, match="epoch 0 in epoch 1"):
        group.commit("ada", late, None)
    assert group.epoch == 1


def test_a_commit_has_to_hold_everything_that_was_shown() -> None:
    """A commit that misses the newest proposal is refused; the next one, with it, counts."""
    group = founded("ada", "ben")
    group.offer("cleo", package("cleo"))
    early = group.shown_to("ada")
    group.offer("dev", package("dev"))
    with pytest.raises(RemoteProtocolError, match="exactly what its author was shown"):
        commit(group, "ada", early)
    commit(group, "ada")
    assert group.members == ["ada", "ben", "cleo", "dev"]


@pytest.mark.parametrize("author", ["ben", "nobody"])
def test_a_commit_has_to_come_from_its_own_leaf(author: str) -> None:
    """Whoever commits at another's leaf, or has none, is refused."""
    group = founded("ada", "ben")
    group.offer("cleo", package("cleo"))
    with pytest.raises(RemoteProtocolError, match="somebody else"):
        commit(group, author, group.shown_to("ada"), leaf=0)


def test_a_welcome_has_to_cover_everybody_added() -> None:
    """A commit that adds somebody without a secret for them is refused and changes nothing."""
    group = founded("ada", "ben")
    group.offer("cleo", package("cleo"))
    message = Commit(b"", GROUP_ID, 1, 0, references(group.shown_to("ada")))
    with pytest.raises(RemoteProtocolError, match="welcome"):
        group.commit("ada", message, None)
    assert group.members == ["ada", "ben"]


def test_the_leftmost_blank_leaf_is_taken() -> None:
    """Removes come first, then each newcomer takes the leftmost blank."""
    group = founded("ada", "ben", "cleo")
    group.depart("ben")
    group.offer("dev", package("dev"))
    group.offer("eve", package("eve"))
    commit(group, "cleo")
    assert group.leaves == {0: "ada", 1: "dev", 2: "cleo", 3: "eve"}


def test_who_leaves_before_being_added_is_taken_back() -> None:
    """The add of somebody who is gone is revoked, and a commit that still holds it is refused."""
    group = founded("ada", "ben")
    group.offer("cleo", package("cleo"))
    stale = group.shown_to("ada")
    change = group.depart("cleo")
    assert [item.user_id for item in change.revoked] == ["cleo"]
    assert change.proposed == group.in_flight == []
    with pytest.raises(RemoteProtocolError):
        commit(group, "ada", stale)


def test_who_lost_the_state_is_removed_and_added_in_one_go() -> None:
    """A member's new key package proposes both, shown to the others alone; afterwards they are welcomed and not told to follow."""
    group = founded("ada", "ben", "cleo")
    change = group.offer("ben", package("ben again"))
    assert [(item.user_id, item.leaf) for item in change.proposed] == [("ben", 1), ("ben", None)]
    assert group.shown_to("ben") == []
    accepted = commit(group, "ada")
    assert (accepted.followers, set(accepted.welcomes)) == (["ada", "cleo"], {"ben"})
    assert group.leaves == {0: "ada", 1: "ben", 2: "cleo"}


def test_a_second_new_key_package_replaces_the_first() -> None:
    """The older add is revoked, the leaf is removed once."""
    group = founded("ada", "ben")
    group.offer("ben", package("ben 2"))
    change = group.offer("ben", package("ben 3"))
    assert [item.leaf for item in change.revoked] == [None]
    assert [(item.user_id, item.leaf) for item in group.in_flight] == [("ben", 1), ("ben", None)]
    commit(group, "ada")
    assert group.members == ["ada", "ben"]


def test_when_nobody_holds_the_state_a_new_group_begins() -> None:
    """If all members lost it, or the last one left while others wait, those who wait start at epoch 0."""
    lost = founded("ada", "ben")
    lost.offer("ada", package("ada 2"))
    change = lost.offer("ben", package("ben 2"))
    assert not lost.founded
    assert [item.user_id for item in change.proposed] == ["ada", "ben"]
    commit(lost, "ben")
    assert lost.members == ["ben", "ada"]
    left = founded("ada", "ben")
    for name in ("cleo", "dev"):
        left.offer(name, package(name))
    left.depart("ada")
    change = left.depart("ben")
    assert not left.founded
    assert [item.user_id for item in change.proposed] == ["cleo", "dev"]
    assert [item.user_id for item in left.shown_to("dev")] == ["cleo"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["offer", "depart", "commit"])), max_size=60))
def test_whatever_happens_the_group_stays_whole(story: list[tuple[str, str]]) -> None:
    """Nobody sits at two leaves, nobody present is forgotten, and whoever may commit can settle everything at once."""
    group = ServerGroup(GROUP_ID, SENDER)
    present: set[str] = set()
    for serial, (name, deed) in enumerate(story):
        if deed == "offer":
            present.add(name)
            group.offer(name, package(f"{name}{serial}"))
        elif deed == "depart":
            present.discard(name)
            group.depart(name)
        elif group.shown_to(name) and name in present and (name not in group.waiting or not group.founded):
            commit(group, name)
            assert group.in_flight == []
            assert set(group.members) == present
        assert len(group.members) == len(set(group.members))
        assert present <= set(group.members) | set(group.waiting)
        assert not set(group.waiting) - present
        assert not group.founded or any(member in present and member not in group.waiting for member in group.members)
