"""What `make bench` and `make soak` conclude from what they see."""

import base64
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from benchmarks.naive import PARTS
from benchmarks.peers.realtime import RealtimeServer
from benchmarks.peers.table import PeerRow, lines
from benchmarks.soak.census import Holdings
from benchmarks.soak.judge import Findings, Latency, Round, claims
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.voice_model import Echo
from discordplex.metrics import Metrics


@pytest.mark.parametrize(("module", "name", "naive"), PARTS, ids=[name for _, name, _ in PARTS])
def test_the_naive_part_offers_what_the_real_one_does(module: ModuleType, name: str, naive: Any) -> None:
    """A method that a part has learnt and its naive twin has not would end the measured bot."""
    timed = {"clock": FakeClock(), "metrics": Metrics()} if name in ("Sink", "StreamingPlaybackSource") else {}
    assert not public(getattr(module, name)) - public(naive(**timed))


def rounds(*resident_mib: float, last: Latency | None = None) -> list[Round]:
    calm = Latency(6.0, 17.0)
    found = [Round(number, 60.0 * number, mib, 9.0, [calm, calm]) for number, mib in enumerate(resident_mib)]
    found[-1].latencies[1] = last or calm
    return found


def held(**more: int) -> Holdings:
    return Holdings({"stats": 1}, {"MainThread": 1}, {"socket": 4} | more, {"discordplex.clock.SystemClock": 1})


GOOD = {"rounds": rounds(120, 130, 131, 132.9), "rests": [held(), held(pipe=1), held()]}
"""Memory grows while the bot warms up, what is held in the middle is let go again, and the phases of the clocks are what they are."""


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (GOOD, None),
        (GOOD | {"rounds": rounds(120, 130, 131, 133.1)}, "Memory in the second half: 131.0 -> 133.1 MiB, +2.1 MiB (allowed: +2)."),
        (GOOD | {"rests": [held(), held(), held(socket=5)]}, "more at the end than after the first round: 1 x descriptor socket."),
        (GOOD | {"rests": [held()]}, "nothing is known of what it leaves behind"),
        (GOOD | {"rounds": rounds(120, 121, last=Latency(6.0, 37.5))}, "engine -> person 17.0 -> 37.5 ms"),
        (GOOD | {"rounds": rounds(120, 121, last=Latency(float("nan"), 17.0))}, "person -> engine 6.0 -> nan ms"),
        (GOOD | {"failures": ["Round 2: call 1 was not heard again."]}, "Round 2: call 1 was not heard again."),
        (GOOD | {"errors": ["task failed"]}, "The bot logged 1 errors: task failed."),
    ],
)
def test_a_soak_is_judged_in_plain_sentences(found: dict[str, Any], sentence: str | None) -> None:
    """Memory that grows, things left behind, a delay that stays, a call that does not come back, an error: each alone fails it."""
    failed = [claim.sentence for claim in claims(Findings(**found)) if not claim.holds]
    assert len(failed) == (sentence is not None), failed
    assert sentence is None or sentence in failed[0]


def test_a_soak_that_ended_early_is_judged_too() -> None:
    """What the last round did not come to measure is missing, and fails."""
    unfinished = Findings([*rounds(120, 121), Round(2, 120.0)], [held(), held()], ["The soak ended early: TimeoutError."])
    failed = [claim.sentence for claim in claims(unfinished) if not claim.holds]
    assert failed[0] == "The soak ended early: TimeoutError."
    assert sum("6.0 -> nan ms" in sentence for sentence in failed) == 2


def test_peers_are_shown_as_multiples_of_ours() -> None:
    """What never came is said in words, and has no ratio; nor has anything where ours is nothing."""
    rows = [
        PeerRow("engine -> person", "ms", {"discordplex": 20.0, "other": 50.0}),
        PeerRow("4015", "ms", {"discordplex": 25.0, "other": float("inf")}),
        PeerRow("holes", "", {"discordplex": 0.0, "other": 2.0}),
    ]
    head, _, *cells = ([cell.strip() for cell in line[1:-1].split("|")] for line in lines(rows))
    assert head == ["what", "unit", "discordplex", "other", "of ours"]
    assert cells == [
        ["engine -> person", "ms", "20", "50", "2.5"],
        ["4015", "ms", "25", "not within 30 s", ""],
        ["holes", "", "0", "2", ""],
    ]
    assert [row.as_json()["figures"]["other"] for row in rows] == [50.0, None, 2.0]


async def test_the_server_of_hermes_talk_answers_each_step_at_once() -> None:
    """80 ms of sound in two messages are one step, whose sound comes back in one block; both are noted with their time."""
    half = bytes(STEP_BYTES // 2)
    append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(half).decode("ascii")}
    async with RealtimeServer(Echo) as server, aiohttp.ClientSession() as client:
        async with client.post(f"http://127.0.0.1:{server.port}/v1/realtime/client_secrets", json={}) as secret:
            assert "value" in await secret.json()
        async with client.ws_connect(f"ws://127.0.0.1:{server.port}/v1/realtime") as socket:
            assert (await socket.receive_json(timeout=20))["type"] == "session.created"
            for message in ({"type": "session.update", "session": {}}, append, append):
                await socket.send_json(message)
            answers = [await socket.receive_json(timeout=20) for _ in range(3)]
        session = server.opened.get_nowait()
    assert [answer["type"] for answer in answers] == ["session.updated", "response.created", "response.output_audio.delta"]
    assert base64.b64decode(answers[-1]["delta"]) == 2 * half
    assert [page.samples for page in session.heard] == [len(half) // 2] * 2
    assert [block.size for block in session.said] == [STEP_BYTES]


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}
