"""ServerGroup: the MLS group of a call as its delivery service knows it: leaves, proposals, and which commit counts. Pure.

Until somebody has committed, there is no common group: everybody has a group of one, and the first valid commit creates the common group,
with its author at leaf 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from discordplex.errors import RemoteProtocolError
from discordplex.loopback.discord.voice.dave import mls
from discordplex.loopback.discord.voice.dave.mls import Commit, KeyPackage, MlsExternalSender, MlsWelcome, Proposal


@dataclass(frozen=True, slots=True)
class InFlight:
    """A proposal that waits for a commit. `leaf` is None where it adds `user_id`, else the leaf that it removes."""

    proposal: Proposal
    user_id: str
    leaf: int | None


@dataclass(slots=True)
class Change:
    """What has to be sent after a change: proposals revoked, proposals made, and who has not seen the older ones."""

    revoked: list[InFlight] = field(default_factory=list)
    proposed: list[InFlight] = field(default_factory=list)
    caught_up: dict[str, list[InFlight]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A commit that counts: who has to process it, and who gets which welcome."""

    commit: Commit
    followers: list[str]
    welcomes: dict[str, bytes]


class ServerGroup:
    """The state of one group. Only `offer`, `depart` and `commit` change it."""

    def __init__(self, group_id: bytes, sender: MlsExternalSender) -> None:
        self.epoch = 0
        self.leaves: dict[int, str] = {}
        self.waiting: dict[str, KeyPackage] = {}
        """Key packages of users who are not in the group, or no longer at their former leaf."""
        self.in_flight: list[InFlight] = []
        self._group_id = group_id
        self._sender = sender

    @property
    def founded(self) -> bool:
        """Whether a commit has created the common group."""
        return bool(self.leaves)

    @property
    def members(self) -> list[str]:
        """The users at the leaves, in order."""
        return [self.leaves[leaf] for leaf in sorted(self.leaves)]

    def shown_to(self, user_id: str) -> list[InFlight]:
        """The proposals that a user has seen and may commit: nobody sees what concerns themselves."""
        audience = self.members if self.founded else self.waiting
        return [item for item in self.in_flight if item.user_id != user_id and user_id in audience]

    def audience(self, item: InFlight) -> list[str]:
        """Who is shown a proposal."""
        return [user_id for user_id in (self.members if self.founded else self.waiting) if user_id != item.user_id]

    def offer(self, user_id: str, key_package: KeyPackage) -> Change:
        """A user wants to be added; one who already has a leaf has lost its state, so that leaf is removed at the same time."""
        change = Change(revoked=self._take_back(user_id))
        newcomer = user_id not in self.waiting
        self.waiting[user_id] = key_package
        if self.founded and not self._holders_beside(user_id):
            return self._start_over()
        if newcomer and not self.founded:
            change.caught_up[user_id] = list(self.in_flight)
        leaf = self._leaf_of(user_id)
        if leaf is not None and not self._is_being_removed(leaf):
            change.proposed.append(self._propose(user_id, leaf))
        change.proposed.append(self._propose(user_id, None))
        return change

    def depart(self, user_id: str) -> Change:
        """A user is gone: proposals that would add them are revoked, and one to remove their leaf is made."""
        change = Change(revoked=self._take_back(user_id))
        self.waiting.pop(user_id, None)
        leaf = self._leaf_of(user_id)
        if leaf is None:
            return change
        if not self._holders_beside(user_id):
            return self._start_over()
        if not self._is_being_removed(leaf):
            change.proposed.append(self._propose(user_id, leaf))
        return change

    def _holders_beside(self, user_id: str) -> list[str]:
        """Who else can still commit: the others are gone, or have lost the group's state."""
        return [sitting for leaf, sitting in self.leaves.items() if sitting != user_id and not self._is_being_removed(leaf)]

    def _start_over(self) -> Change:
        """Nobody has the group's state any more: the waiting users create a new group. They were not shown the old one's proposals."""
        self.epoch = 0
        self.leaves = {}
        self.in_flight = []
        return Change(proposed=[self._propose(user_id, None) for user_id in self.waiting])

    def commit(self, user_id: str, commit: Commit, welcome: MlsWelcome | None) -> Accepted:
        """Apply a commit. Raises RemoteProtocolError, and changes nothing, where it does not count."""
        self._check(user_id, commit)
        shown = {item.proposal.reference: item for item in self.shown_to(user_id)}
        if sorted(commit.references) != sorted(shown):
            raise RemoteProtocolError("a commit does not hold exactly what its author was shown")
        committed = [shown[reference] for reference in commit.references]
        added = [item.user_id for item in committed if item.leaf is None]
        welcomes = self._cut(welcome, added)
        if not self.founded:
            self.leaves = {0: user_id}
            del self.waiting[user_id]
        for item in committed:
            if item.leaf is not None:
                del self.leaves[item.leaf]
        followers = self.members
        for added_id in added:
            self.leaves[self._leftmost_blank()] = added_id
            del self.waiting[added_id]
        self.epoch += 1
        self.in_flight = []
        return Accepted(commit, followers, welcomes)

    def _check(self, user_id: str, commit: Commit) -> None:
        if (commit.group_id, commit.epoch) != (self._group_id, self.epoch):
            raise RemoteProtocolError(f"a commit is for epoch {commit.epoch} in epoch {self.epoch}")
        expected = self.leaves.get(commit.leaf) == user_id if self.founded else user_id in self.waiting and commit.leaf == 0
        if not expected or not commit.references:
            raise RemoteProtocolError(f"a commit of leaf {commit.leaf} comes from somebody else, or is empty")

    def _cut(self, welcome: MlsWelcome | None, added: Iterable[str]) -> dict[str, bytes]:
        packages = {user_id: self.waiting[user_id] for user_id in added}
        secrets = welcome.secrets if welcome else {}
        if {package.reference for package in packages.values()} != set(secrets):
            raise RemoteProtocolError("a welcome is not for exactly those who were added")
        return {user_id: welcome.cut_for(package) for user_id, package in packages.items()} if welcome else {}

    def _propose(self, user_id: str, leaf: int | None) -> InFlight:
        body = mls.add(self.waiting[user_id]) if leaf is None else mls.remove(leaf)
        item = InFlight(self._sender.propose(group_id=self._group_id, epoch=self.epoch, proposal=body), user_id, leaf)
        self.in_flight.append(item)
        return item

    def _take_back(self, user_id: str) -> list[InFlight]:
        revoked = [item for item in self.in_flight if item.user_id == user_id and item.leaf is None]
        self.in_flight = [item for item in self.in_flight if item not in revoked]
        return revoked

    def _leaf_of(self, user_id: str) -> int | None:
        return next((leaf for leaf, sitting in self.leaves.items() if sitting == user_id), None)

    def _is_being_removed(self, leaf: int) -> bool:
        return any(item.leaf == leaf for item in self.in_flight)

    def _leftmost_blank(self) -> int:
        return next(leaf for leaf in range(len(self.leaves) + 1) if leaf not in self.leaves)
