"""What a demo leaves behind."""

import json
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from discordplex.demo.recording import paired
from discordplex.demo.report import lost, picture, report, summary, write
from discordplex.demo.scenario import PlayedCall, PlayedHandover
from discordplex.demo.timeline import TimelineEntry

Voice = Callable[[Sequence[tuple[float, float]], float], bytes]

METRICS: dict[str, Any] = {
    "voice.rx.frames": 150,
    "voice.rx.lost": 2,
    "engine.frames_dropped": 1,
    "uplink.skipped": 5,
    "playout.underruns": 4,
    "uplink.wait_ms": {"count": 150, "p50": 5.2, "p95": 9.0, "p99": 11.5, "max": 12.0},
}


@pytest.fixture
def make_call(voice: Voice) -> Callable[..., PlayedCall]:
    """Makes a call of 6 s in which Plex answers Ada's one sentence after 0.9 s."""

    def make(**changed: Any) -> PlayedCall:
        facts: dict[str, Any] = {
            "person": "Ada",
            "bot": "Plex",
            "channel": "Lounge",
            "recording": paired(voice([(1.0, 2.0)], 6.0), voice([(2.9, 3.9)], 6.0)),
            "lines": [TimelineEntry("bot", "Plex", 2.9, "I heard you – für 1 s."), TimelineEntry("person", "Ada", 1.0, "Hello!")],
            "said_sequences": range(100, 155),
            "heard_sequences": range(65_500, 65_536),
            "started_s": 1.9,
            "listened_s": 0.4,
            "exit_code": 0,
            "bot_report": {"metrics": METRICS, "cpu_s": 2.0, "uptime_s": 10.0, "rss_mib": 96.0},
            "stats": [],
        }
        return PlayedCall(**{**facts, **changed})

    return make


@pytest.mark.parametrize(
    ("sequences", "missing"),
    [
        ([], 0),
        ([7], 0),
        ([1, 2, 3], 0),
        ([1, 2, 5], 2),
        ([1, 3, 2, 4], 0),
        ([65_534, 65_535, 0, 2], 1),
        ([1, 1, 2, 4, 4], 1),
        (range(70_000), 0),
    ],
)
def test_lost_packets_are_counted_over_wrap_and_reorder(sequences: Sequence[int], missing: int) -> None:
    """Only what never came counts, whatever its order and however long the call."""
    assert lost(sequence % 65_536 for sequence in sequences) == missing


def test_the_report_has_every_figure(make_call: Callable[..., PlayedCall]) -> None:
    """Frames, latency by stage, CPU, memory and versions are in it, and it is JSON."""
    measured = report(make_call(), "parrot")
    assert measured["frames"]["lost"] == 3
    assert measured["frames"]["person_sent"] == 55
    assert measured["latency_ms"]["voice_to_voice"] == [900]
    assert measured["latency_ms"]["uplink.wait_ms"]["p50"] == 5.2
    assert (measured["cpu_percent"], measured["memory_mib"]) == (20.0, 96.0)
    assert {"python", "py-cord", "sphn"} <= set(measured["versions"])
    json.dumps(measured)


def test_cpu_is_that_of_the_conversation_where_it_is_known(make_call: Callable[..., PlayedCall]) -> None:
    """What starting cost does not count against the call."""
    call = make_call(stats=[(10.0, {"cpu_s": 1.5}), (11.0, {"cpu_s": 1.54}), (12.0, {"cpu_s": 1.58})])
    assert report(call, "parrot")["cpu_percent"] == 4.0


def test_a_bot_without_a_report_is_no_obstacle(make_call: Callable[..., PlayedCall]) -> None:
    """Where the bot wrote nothing, what the person saw is reported."""
    call = make_call(bot_report={}, heard_sequences=[1, 3])
    measured = report(call, "ws://gpu:8998/api/chat")
    assert (measured["cpu_percent"], measured["memory_mib"], measured["frames"]["lost"]) == (None, None, 1)
    assert "online after 1.9 s" in "\n".join(summary(measured, call, Path("out")))


def test_an_echo_is_told_apart(make_call: Callable[..., PlayedCall], voice: Voice) -> None:
    """An echo's delay is from beginning to beginning, and the summary says so."""
    call = make_call(recording=paired(voice([(1.0, 2.0)], 4.0), voice([(1.3, 2.3)], 4.0)))
    measured = report(call, "echo")
    assert measured["latency_ms"]["voice_to_voice"] == [300]
    assert "beginning of its echo" in "\n".join(summary(measured, call, Path("out")))


def test_the_summary_is_short_and_says_the_essential(make_call: Callable[..., PlayedCall]) -> None:
    """A few lines: how fast, how complete, how heavy, where the files are."""
    call = make_call()
    text = "\n".join(summary(report(call, "parrot"), call, Path("out")))
    for part in (
        "900 ms",
        "700 ms of it the parrot waits",
        "5.2 ms median",
        "lost: 3, holes: 4",
        "20.0 % of a core",
        "96 MiB",
        "conversation.wav",
    ):
        assert part in text
    assert len(text.splitlines()) <= 12


def test_no_answer_is_said(make_call: Callable[..., PlayedCall], voice: Voice) -> None:
    """Where the bot kept silent, the summary says so instead of a figure."""
    call = make_call(recording=paired(voice([(1.0, 2.0)], 4.0), b""))
    assert "Plex answered nothing" in "\n".join(summary(report(call, "parrot"), call, Path("out")))


def test_four_files_are_written(make_call: Callable[..., PlayedCall], tmp_path: Path) -> None:
    """Sound with the person left and the bot right, the transcript in order, the picture, the report."""
    call, out = make_call(), tmp_path / "deep" / "out"
    measured = report(call, "parrot")
    write(measured, call, out)
    with wave.open(str(out / "conversation.wav")) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (48_000, 2, 2)
        assert sound.readframes(sound.getnframes()) == call.recording.stereo
    transcript = [json.loads(line) for line in (out / "transcript.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["who"], line["at_s"], line["text"]) for line in transcript] == [
        ("Ada", 1.0, "Hello!"),
        ("Plex", 2.9, "I heard you – für 1 s."),
    ]
    with Image.open(out / "timeline.png") as image:
        assert image.width == 1800
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == measured


def test_hand_overs_are_in_the_report_and_in_the_picture(make_call: Callable[..., PlayedCall], tmp_path: Path) -> None:
    """When, and for how long nobody was heard; without any, nothing is said of them."""
    call = make_call(handovers=[PlayedHandover(2.5, in_place=False, unheard_s=0.0), PlayedHandover(4.0, in_place=True, unheard_s=1.25)])
    measured = report(call, "echo")
    assert measured["handovers"] == [
        {"at_s": 2.5, "in_place": False, "unheard_s": 0.0},
        {"at_s": 4.0, "in_place": True, "unheard_s": 1.25},
    ]
    assert "2, at 2.5 s, 4.0 s" in "\n".join(summary(measured, call, tmp_path))
    assert picture(measured, call).handovers == [2.5, 4.0]
    plain = report(make_call(), "echo")
    assert plain["handovers"] == []
    assert "hand-over" not in "\n".join(summary(plain, make_call(), tmp_path))
