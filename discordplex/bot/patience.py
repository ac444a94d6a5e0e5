"""How long a channel is left alone after a call failed there. Pure."""

from collections import OrderedDict

from discordplex.bot.sessions import Place

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 300.0

MOST = 1024
"""Channels that are remembered. Of more, the one whose last failure is the oldest is forgotten."""


class Patience:
    """Growing pauses per channel, so that people who sit where no call works cause no storm of tries."""

    def __init__(self) -> None:
        self._failures: OrderedDict[Place, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def pause_s(self, place: Place) -> float:
        """Another call failed here: seconds until it may be tried again without anybody asking. Doubles each time."""
        failures = self._failures.get(place, 0)
        self._failures[place] = failures + 1
        self._failures.move_to_end(place)
        if len(self._failures) > MOST:
            self._failures.popitem(last=False)
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 10))

    def forget(self, place: Place) -> None:
        """A call worked here, or its people have gone: the next failure is a first one."""
        self._failures.pop(place, None)
