"""What a person sees while the demo runs: a live view on a terminal, plain lines in a pipe, nothing beside JSON."""

import math
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, TextIO

from rich.box import ASCII, ROUNDED
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typing_extensions import Self

from discordplex.demo.timeline import TimelineEntry
from discordplex.demo.turns import Side, TurnTracker, Voice

STYLES: dict[str, str] = {"person": "bold bright_blue", "bot": "bold dark_orange", "notice": "dim"}
BLOCKS, PLAIN_BLOCKS = " ▁▂▃▄▅▆▇█", " .:-=+*#@"
HISTORY, HISTORY_STEP_S = 40, 0.1
KEPT_LINES = 8
LONGEST_TEXT = 170
COMPLETE_S = 3.0
"""A caption is edited at least this often while it grows."""
LOUDEST = 0.25
"""The level that fills a bar: loud speech, -12 dBFS."""


class Display(Protocol):
    """Shows the progress of the demo. A context manager. Thread: loop, except that `turns` may be written by the media thread."""

    turns: TurnTracker

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None: ...

    def step(self, sentence: str) -> None:
        """Show what happens now."""
        ...

    def line(self, key: str, line: TimelineEntry) -> None:
        """Show what somebody said or wrote; the same key again replaces it."""
        ...

    def stats(self, counted: Mapping[str, Any]) -> None:
        """Show what the bot has counted so far."""
        ...


class NoDisplay:
    """Shows nothing, because the report is the only output."""

    def __init__(self) -> None:
        self.turns = TurnTracker()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to end."""

    def step(self, sentence: str) -> None:
        """Nothing."""

    def line(self, key: str, line: TimelineEntry) -> None:
        """Nothing."""

    def stats(self, counted: Mapping[str, Any]) -> None:
        """Nothing."""


class PlainDisplay(NoDisplay):
    """One line for each event, for a pipe or a log file: what is said between two steps is in the order in which it was said."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self._stream = stream
        self._now = now
        self._waiting: dict[str, tuple[int, float, str, float]] = {}
        """What is not written yet: after how many steps, when it was said, the text, and when that will be complete."""
        self._steps = 0

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Write what is left."""
        self._write_until(math.inf)

    def step(self, sentence: str) -> None:
        """Write one line, after those before it."""
        self._steps += 1
        self._waiting[f"step {self._steps}"] = (self._steps, -math.inf, sentence, -math.inf)
        self._write_until(self._now())

    def line(self, key: str, line: TimelineEntry) -> None:
        """Write one line once it is complete: a caption grows, so it is complete when it has not changed for `COMPLETE_S`."""
        step = self._waiting[key][0] if key in self._waiting else self._steps
        self._waiting[key] = (step, line.at_s, f"{line.at_s:5.1f} s  {line.who}: {line.text}", self._now() + COMPLETE_S)
        self._write_until(self._now())

    def stats(self, counted: Mapping[str, Any]) -> None:  # noqa: ARG002 -- the shape of Display
        """Write what is complete by now; this is called once a second."""
        self._write_until(self._now())

    def _write_until(self, now: float) -> None:
        while self._waiting:
            key, (_, _, text, complete_at) = min(self._waiting.items(), key=lambda one: one[1][:2])
            if complete_at > now:
                return
            del self._waiting[key]
            self._write(text)

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "ascii"
        self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()


class LiveView(NoDisplay):
    """A panel that is redrawn ten times a second: both voices, what was said, and the latency."""

    def __init__(self, console: Console, title: str, names: Mapping[Side, str]) -> None:
        super().__init__()
        self._unicode = "utf" in console.encoding
        self._title = title
        self._names = names
        self._step = ""
        self._lines: dict[str, TimelineEntry] = {}
        self._counted: Mapping[str, Any] = {}
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=1 / HISTORY_STEP_S, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        """Remove the panel."""
        self._live.stop()

    def step(self, sentence: str) -> None:
        """Show it at the bottom until the next step."""
        self._step = sentence

    def line(self, key: str, line: TimelineEntry) -> None:
        """Show it among the newest lines."""
        self._lines[key] = line

    def stats(self, counted: Mapping[str, Any]) -> None:
        """Show the figures in one line."""
        self._counted = counted

    def render(self) -> RenderableType:
        """The current panel. Thread: the live view's own."""
        now = time.perf_counter()
        content = Group(self._voices(now), Text(), self._said(), Text(), Text(self._figures(), "green"), Text(self._step, "dim"))
        return Panel(content, title=self._title, box=ROUNDED if self._unicode else ASCII, padding=(1, 2), width=84)

    def _voices(self, now: float) -> Table:
        table = Table.grid(padding=(0, 2))
        sides: tuple[tuple[Side, Voice], ...] = (("person", self.turns.person), ("bot", self.turns.bot))
        for side, voice in sides:
            bars = "".join(self._block(level) for level in voice.levels(now, HISTORY, HISTORY_STEP_S))
            table.add_row(Text(self._names[side], STYLES[side]), Text(bars, STYLES[side]), "speaks" if voice.speaks(now) else "")
        return table

    def _block(self, level: float) -> str:
        blocks = BLOCKS if self._unicode else PLAIN_BLOCKS
        return blocks[min(len(blocks) - 1, round((level / LOUDEST) ** 0.5 * (len(blocks) - 1)))]

    def _said(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for line in sorted(self._lines.values(), key=lambda line: line.at_s)[-KEPT_LINES:]:
            table.add_row(
                Text(f"{line.at_s:5.1f} s", "dim"),
                Text(line.who, STYLES[line.role]),
                Text(textwrap.shorten(line.text, LONGEST_TEXT, placeholder="...")),
            )
        return table

    def _figures(self) -> str:
        return (
            " · ".join(figures(self._counted, self.turns.latency_ms))
            if self._unicode
            else ", ".join(figures(self._counted, self.turns.latency_ms))
        )


def figures(counted: Mapping[str, Any], latency_ms: float | None) -> list[str]:
    """The newest figures, in words."""
    found = [] if latency_ms is None else [f"voice to voice {latency_ms:.0f} ms"]
    wait = counted.get("uplink_wait_ms")
    if isinstance(wait, dict) and wait.get("p50") is not None:
        found.append(f"person to engine {wait['p50']:.1f} ms")
    if "voice_rx_frames" in counted:
        found.append(f"{counted['voice_rx_frames']} frames heard, {counted.get('voice_rx_lost', 0)} lost")
    return found


def show_for(title: str, names: Mapping[Side, str], *, as_json: bool) -> Display:
    """The view for this kind of stdout."""
    if as_json:
        return NoDisplay()
    return LiveView(Console(), title, names) if sys.stdout.isatty() else PlainDisplay(sys.stdout)
