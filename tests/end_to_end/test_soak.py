"""`make soak` finds what a bot leaves behind."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from discordplex.loopback import timeouts

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the soak reads /proc")
@pytest.mark.timeout(180 * timeouts.FACTOR)
async def test_a_bot_that_leaves_things_behind_fails_the_soak(tmp_path: Path) -> None:
    """Two rounds of seven seconds: its tasks, threads, sockets, files and memory are named in plain sentences, and nothing else failed."""
    report = tmp_path / "soak.json"
    short = ("--minutes", "0.23", "--rounds", "2", "--out", str(report), "--bot", "tests.end_to_end.leaky")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.soak", *short, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    said = (await process.communicate())[0].decode()
    assert process.returncode == 1, said
    failed = [claim["sentence"] for claim in json.loads(report.read_text())["claims"] if not claim["holds"]]
    memory, left = (sentence for sentence in failed if not sentence.startswith("Latency"))
    assert memory.startswith("Memory in the second half"), said
    for what in ("task lost task", "thread lost thread", "descriptor socket"):
        assert what in left, said
    assert f"FAILED  {left}" in said
