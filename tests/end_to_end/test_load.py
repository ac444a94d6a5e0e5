"""`make load`: its light people and engines are enough for a real bot."""

import os

import pytest

from benchmarks.load.conduct import window
from benchmarks.load.cores import Cores
from benchmarks.load.scene import Scene, Size

CORES = Cores.divide(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None


@pytest.mark.parametrize("e2ee", [False, True])
async def test_a_bot_hears_the_light_people_and_is_heard(*, e2ee: bool) -> None:
    """Two calls of two people: the bot sends 50 packets a second in each, and hears everybody; every engine has a step in 80 ms."""
    if CORES is None:
        pytest.skip("needs Linux and two cores")
    async with Scene(Size(calls=2, people=2, e2ee=e2ee), CORES) as scene:
        for _ in range(2):
            await scene.add_call()
        settled = await window(scene, 1.5)
        steps = scene.engines.steps
        found = await window(scene, 1.5)
        speakers = found.heard_per_call_s / 50
    assert settled.calls == found.calls == 2
    assert found.packets_per_call_s == pytest.approx(50, abs=10)
    assert speakers == pytest.approx(2, abs=0.5)
    assert (scene.engines.steps - steps) / found.seconds / 2 == pytest.approx(12.5, abs=3)
