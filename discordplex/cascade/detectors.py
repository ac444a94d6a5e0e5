"""DetectorPool: detectors that are ready before somebody speaks. A new one takes 70 ms to make, three ticks of every call."""

import asyncio
from collections.abc import Callable

from discordplex.cascade.detector import Detector, new_detector

READY = 2
"""Ready at any time: the first words of two people who have not spoken before wait for nothing."""
MOST_SPARE = 8
"""Kept of those that come back; each holds 9 MB."""


class DetectorPool:
    """What all calls of a process share. Thread: loop; detectors are made in a worker thread."""

    def __init__(self, make: Callable[[], Detector] = new_detector) -> None:
        self._make = make
        self._spare: list[Detector] = []
        self._wanted = asyncio.Event()
        self._making = asyncio.Lock()

    async def fill(self) -> None:
        """Return with `READY` detectors ready. Raises ConfigError where no package is installed."""
        async with self._making:
            while len(self._spare) < READY:
                self._spare.append(await asyncio.to_thread(self._make))

    async def keep_filled(self) -> None:
        """Make another one whenever one was taken, until cancelled. Each call runs this for as long as it lives."""
        while True:
            self._wanted.clear()
            await self.fill()
            await self._wanted.wait()

    def take(self) -> Detector | None:
        """A detector that has heard nobody; None where none is ready yet, and it is being made. Never blocks."""
        self._wanted.set()
        return self._spare.pop() if self._spare else None

    def give_back(self, detector: Detector) -> None:
        """Its speaker is gone."""
        if len(self._spare) < MOST_SPARE:
            detector.reset()
            self._spare.append(detector)
