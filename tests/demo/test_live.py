"""What a person sees while the demo runs."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from discordplex.audio.format import ENGINE
from discordplex.demo.live import LiveView, NoDisplay, PlainDisplay, figures, show_for
from discordplex.demo.timeline import TimelineEntry
from discordplex.demo.turns import Side

STATS: Mapping[str, Any] = {"voice_rx_frames": 120, "voice_rx_lost": 1, "uplink_wait_ms": {"p50": 5.25}}
LOUD = b"\x00\x20" * ENGINE.frame_samples


def test_a_pipe_gets_a_line_for_each_thing() -> None:
    """In order, and each caption whole, also where somebody speaks or leaves while it grows; what is complete waits for nobody."""
    stream, now = io.StringIO(), [0.0]
    with PlainDisplay(stream, lambda: now[0]) as show:
        show.step("The bot is starting.")
        assert stream.getvalue() == "The bot is starting.\n"
        show.line("1", TimelineEntry("bot", "Plex", 2.0, "I"))
        now[0] = 2.0
        show.line("2", TimelineEntry("person", "Ada", 3.0, "Hello!"))
        show.step("Ada leaves.")
        show.line("1", TimelineEntry("bot", "Plex", 2.0, "I heard you."))
        now[0] = 5.5
        show.stats(STATS)
        show.line("3", TimelineEntry("notice", "Plex", 9.5, "Bye"))
        assert len(stream.getvalue().splitlines()) == 4
    assert stream.getvalue().splitlines() == [
        "The bot is starting.",
        "  2.0 s  Plex: I heard you.",
        "  3.0 s  Ada: Hello!",
        "Ada leaves.",
        "  9.5 s  Plex: Bye",
    ]


def test_a_pipe_gets_words_in_the_order_in_which_they_were_said() -> None:
    """A transcription comes after the answer to it."""
    stream = io.StringIO()
    with PlainDisplay(stream, lambda: 0.0) as show:
        show.step("Ada enters.")
        show.line("1", TimelineEntry("bot", "Plex", 2.0, "I heard you."))
        show.line("2", TimelineEntry("person", "Ada", 1.0, "Hello!"))
        show.step("Ada leaves.")
    assert stream.getvalue().splitlines() == ["Ada enters.", "  1.0 s  Ada: Hello!", "  2.0 s  Plex: I heard you.", "Ada leaves."]


def test_a_pipe_that_knows_no_unicode_is_no_obstacle() -> None:
    """What cannot be encoded is replaced."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with PlainDisplay(stream) as show:
        show.step("🎙️ hört")
    assert raw.getvalue().rstrip() == b"?? h?rt"


def view(encoding: str = "utf-8") -> tuple[LiveView, Console]:
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), width=100, color_system=None)
    return LiveView(console, "discordplex demo, parrot", {"person": "Ada", "bot": "Plex"}), console


def rendered(live: LiveView, console: Console) -> str:
    with console.capture() as capture:
        console.print(live.render())
    return capture.get()


def test_the_view_shows_voices_words_and_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks, how loud, what was said, how fast."""
    live, console = view()
    live.turns.heard("person", LOUD, 100.0)
    live.turns.heard("bot", LOUD, 100.9)
    live.line("1", TimelineEntry("person", "Ada", 1.0, "Hello [there]!"))
    live.stats(STATS)
    live.step("Ada speaks.")
    monkeypatch.setattr("time.perf_counter", lambda: 101.0)
    text = rendered(live, console)
    for part in ("Ada", "Plex", "█", "speaks", "Hello [there]!", "900 ms", "5.2 ms", "120 frames heard, 1 lost", "Ada speaks."):
        assert part in text
    assert text.count("speaks") == 2


def test_the_view_needs_no_unicode() -> None:
    """A terminal that cannot show blocks gets plain signs."""
    live, console = view("ascii")
    live.turns.heard("person", LOUD, 100.0)
    live.stats(STATS)
    assert rendered(live, console).isascii()


def test_the_view_can_be_opened_and_closed() -> None:
    """The panel is drawn while it is open and taken away at the end, whatever happened."""
    live, _console = view()
    with pytest.raises(LookupError), live:
        raise LookupError


def test_only_the_newest_lines_are_shown() -> None:
    """A long conversation does not fill the screen."""
    live, console = view()
    for number in range(30):
        live.line(str(number), TimelineEntry("bot", "Plex", float(number), f"line {number}."))
    text = rendered(live, console)
    assert "line 29." in text
    assert "line 5." not in text


def test_figures_wait_until_there_are_some() -> None:
    """Before the first statistics nothing is claimed."""
    assert figures({}, None) == []
    assert figures({"uplink_wait_ms": {"p50": None}}, None) == []


def test_the_view_fits_where_stdout_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON alone, lines in a pipe, the panel on a terminal."""
    names: Mapping[Side, str] = {"person": "Ada", "bot": "Plex"}
    assert type(show_for("t", names, as_json=True)) is NoDisplay
    assert type(show_for("t", names, as_json=False)) is PlainDisplay
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert type(show_for("t", names, as_json=False)) is LiveView
