"""The naive path of `make bench` fits where it is put, so that its rows are those of a bot that works."""

from types import ModuleType
from typing import Any

import pytest

from benchmarks.naive import PARTS
from discordplex.loopback.clock import FakeClock
from discordplex.metrics import Metrics


@pytest.mark.parametrize(("module", "name", "naive"), PARTS, ids=[name for _, name, _ in PARTS])
def test_the_naive_part_offers_what_the_real_one_does(module: ModuleType, name: str, naive: Any) -> None:
    """A method that a part has learnt and its naive twin has not would end the measured bot."""
    timed = {"clock": FakeClock(), "metrics": Metrics()} if name in ("Sink", "StreamingPlaybackSource") else {}
    assert not public(getattr(module, name)) - public(naive(**timed))


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}
