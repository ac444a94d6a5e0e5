"""Detectors are ready before they are needed."""

import asyncio

from discordplex.cascade.detector import MOST_SPARE, READY, DetectorPool


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
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def test_an_empty_pool_does_not_block() -> None:
    """With none ready, taking gives None at once."""
    assert DetectorPool(Counted).take() is None


async def test_what_comes_back_has_heard_nobody() -> None:
    """A detector is reset before it serves another speaker, and no more are kept than are of use."""
    pool = DetectorPool(Counted)
    detectors = [Counted() for _ in range(MOST_SPARE + 3)]
    for detector in detectors:
        detector.probability(b"")
        pool.give_back(detector)
    taken = [pool.take() for _ in detectors]
    assert sum(one is not None for one in taken) == MOST_SPARE
    assert all(one.fresh for one in taken if isinstance(one, Counted))
