"""What `make bench` and `make soak` conclude from what they see."""

import base64
import itertools
import math
from dataclasses import replace
from types import ModuleType
from typing import Any

import aiohttp
import pytest

from benchmarks.load.cores import Cores
from benchmarks.load.engine import HEADER_PAGES, PreparedSpeech
from benchmarks.load.exposition import Exposition
from benchmarks.load.relay import Arrivals
from benchmarks.load.sizing import Window, carried, sizing
from benchmarks.naive import PARTS
from benchmarks.peers.realtime import RealtimeServer
from benchmarks.peers.table import PeerRow, lines
from benchmarks.soak.census import Holdings
from benchmarks.soak.judge import Findings, Latency, Round, claims
from discordplex.audio.format import ENGINE, MODEL_STEP_MS
from discordplex.audio.oggopus import OggOpusReader
from discordplex.loopback.clock import FakeClock
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.voice_model import Echo
from discordplex.metrics import Metrics
from discordplex.personaplex.protocol import AUDIO


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


QUIET = Window(
    calls=1,
    people=1,
    guilds=60,
    seconds=8.0,
    pacing_p50_ms=0.2,
    pacing_p99_ms=1.0,
    wire_p99_ms=1.0,
    packets_per_call_s=50.0,
    heard_per_call_s=50.0,
    cpu_percent=6.0,
    resident_mib=130.0,
    holes=0.0,
    uplink_skipped=0.0,
    loop_lag_p99_ms=1.0,
    harness_p99_ms=1.0,
    read_p99_ms=0.1,
    harness_cpu_percent=5.0,
    others_percent=0.0,
    priority=False,
)


def test_a_load_is_refused_where_the_harness_or_others_are_the_limit() -> None:
    """A late harness, one that was not measured, and other work on the bot's core; with priority, others only use what is left."""
    assert QUIET.fault is None
    assert "the harness itself was late by 6.0 ms" in str(replace(QUIET, harness_p99_ms=6.0).fault)
    assert "the harness itself" in str(replace(QUIET, harness_p99_ms=math.nan).fault)
    assert "other processes took 40 %" in str(replace(QUIET, others_percent=40.0).fault)
    assert replace(QUIET, others_percent=40.0, priority=True).fault is None


def test_a_process_carries_what_it_paces_and_not_what_came_after() -> None:
    """The first load that is late ends the ascent, and the growth is of those that were not."""
    ascent = [replace(QUIET, calls=calls, resident_mib=130.0 + 2 * calls, cpu_percent=1 + 4.0 * calls) for calls in (1, 5, 10)]
    late = replace(QUIET, calls=15, pacing_p99_ms=5.1, resident_mib=900.0, cpu_percent=100.0)
    assert carried([*ascent, late, replace(QUIET, calls=20)]) == 10
    assert carried([replace(late, pacing_p99_ms=math.nan)]) == 0
    people = [replace(QUIET, calls=4, people=each, cpu_percent=20 + 3.0 * (each - 1)) for each in (1, 2, 8)]
    guilds = [replace(QUIET, guilds=each, resident_mib=140 + 0.05 * each) for each in (10, 1_000, 10_000)]
    assert dict(sizing([*ascent, late], people, guilds)) == {
        "calls on a core, p99 of pacing at most 5 ms": "10",
        "MiB for each call": "2.0",
        "CPU for each call, % of a core": "4.0",
        "CPU for each further person who speaks, % of a core": "0.75",
        "MiB for each further person who speaks": "0.00",
        "MiB for 1,000 guilds": "50.0",
        "MiB without guilds and calls": "140.0",
    }
    assert dict(sizing(ascent, [], []))["calls on a core, p99 of pacing at most 5 ms"] == "more than 10"


def test_what_a_bot_exposes_is_read_as_what_happened_between_two_looks() -> None:
    """Counters and buckets are subtracted, over all labels; what is above the last bound counts as that bound."""
    text = """
# TYPE discordplex_lag_seconds histogram
discordplex_lag_seconds_bucket{{le="0.001"}} {0}
discordplex_lag_seconds_bucket{{le="0.005"}} {1}
discordplex_lag_seconds_bucket{{le="+Inf"}} {2}
# TYPE discordplex_holes counter
discordplex_holes_total{{kind="a"}} {0}
discordplex_holes_total{{kind="b"}} 1
"""
    before, after = Exposition.parse(text.format(100, 100, 100)), Exposition.parse(text.format(150, 198, 200))
    spread = after.spread_since(before, "lag_seconds")
    assert spread.count == 100
    assert spread.percentile(50) == pytest.approx(0.001)
    assert spread.percentile(74) == pytest.approx(0.003)
    assert spread.percentile(99) == 0.005
    assert after.count_since(before, "holes_total") == 50
    assert math.isnan(after.spread_since(after, "lag_seconds").percentile(99))


def test_packets_are_late_by_their_own_timestamps() -> None:
    """A pause of whole frames is none; timestamps wrap; after `forget` the next packet has none before it."""
    arrivals, frame = Arrivals(), ENGINE.frame_samples
    first = (1 << 32) - frame
    for at_s, frames in ((0.0, 0), (0.020, 1), (0.047, 2), (0.100, 5)):
        arrivals.take(at_s, (first + frames * frame) % (1 << 32))
    assert list(arrivals.gaps_ms) == pytest.approx([0.0, 7.0, -7.0])
    arrivals.forget()
    arrivals.take(9.0, 0)
    assert (arrivals.packets, list(arrivals.gaps_ms)) == (1, [])


def test_prepared_speech_is_one_undamaged_stream_however_long() -> None:
    """Beyond the end of the clip its packets come again, on pages that go on."""
    speech, reader = PreparedSpeech(), OggOpusReader()
    assert len(speech.headers) == HEADER_PAGES
    told = itertools.chain(speech.headers, *(speech.messages(step) for step in range(3 * speech.steps)))
    pages = [message[1:] for message in told if message[:1] == AUDIO]
    assert sum(len(reader.read(page)) for page in pages) == 3 * speech.steps * ENGINE.bytes_of_ms(MODEL_STEP_MS)


def test_one_core_is_the_bots_alone() -> None:
    """With a single core there is none for the harness."""
    assert Cores.divide([3, 2, 5]) == Cores(2, frozenset({3, 5}))
    assert Cores.divide([4]) is None


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}
