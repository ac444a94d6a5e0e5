"""Who is in the channel, over the sessions of one call. Pure."""

from collections.abc import Iterable

MAX_PEOPLE = 10_000
"""A stage holds no more; who comes then is heard, and not listed."""


class Members:
    """People by id, without ourselves."""

    def __init__(self, own_id: int) -> None:
        self.people: frozenset[int] = frozenset()
        self._own_id = own_id
        self._unconfirmed: frozenset[int] = frozenset()

    def new_session(self) -> None:
        """A new session names everybody again; until then nobody is taken for gone."""
        self._unconfirmed = self.people

    def joined(self, user_ids: Iterable[int]) -> list[int]:
        """These are in the channel: who of them is new."""
        named = [user_id for user_id in dict.fromkeys(user_ids) if user_id != self._own_id]
        self._unconfirmed -= set(named)
        new = [user_id for user_id in named if user_id not in self.people][: MAX_PEOPLE - len(self.people)]
        self.people |= set(new)
        return new

    def left(self, user_id: int) -> None:
        """This one is gone."""
        self.people -= {user_id}

    def settled(self) -> None:
        """Everybody has been named: who was not, is gone."""
        self.people -= self._unconfirmed
        self._unconfirmed = frozenset()
