"""How long a channel is left alone after a call failed there. Pure."""

from discordplex.bot.sessions import Place

FIRST_PAUSE_S = 15.0
LONGEST_PAUSE_S = 300.0


class Patience:
    """Growing pauses per channel, so that people who sit where no call works cause no storm of tries."""

    def __init__(self) -> None:
        self._failures: dict[Place, int] = {}

    def pause_s(self, place: Place) -> float:
        """Another call failed here: seconds until it may be tried again without anybody asking. Doubles each time."""
        failures = self._failures.get(place, 0)
        self._failures[place] = failures + 1
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures, 10))

    def forget(self, place: Place) -> None:
        """A call worked here, or its people have gone: the next failure is a first one."""
        self._failures.pop(place, None)
