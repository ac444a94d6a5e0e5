"""timeline.png: both voices over time, what was said and when, and how long each answer took. Uses Pillow only."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from discordplex.demo.canvas import Canvas, Colour, text_width, wrapped
from discordplex.demo.recording import Recording, ResponseTime, levels, spans

PAPER: Colour = (255, 255, 255)
INK: Colour = (26, 30, 44)
SOFT: Colour = (116, 123, 143)
GRID: Colour = (236, 238, 244)
PERSON: Colour = (37, 99, 235)
BOT: Colour = (219, 84, 20)
ANSWERED: Colour = (14, 138, 95)
HANDED_OVER: Colour = (126, 58, 200)

WIDTH, MARGIN, GUTTER = 1800, 48, 190
HEAD, LANE, GAP, ROW = 112, 132, 78, 34
BAR, BAR_STEP = 3, 5
LOUDEST_SHARE = 0.94
"""Share of a lane's height that the loudest moment of the call takes."""
BUBBLE_SIZE, BUBBLE_ROW, BUBBLE_LINES, BUBBLE_PAD, BUBBLE_NARROWEST, BUBBLE_WIDEST = 19, 25, 3, 12, 60, 430
NOTICE_SIZE = 18
HANDOVER = "hand-over"

TICKS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600)
TICK_NARROWEST = 84


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something said or written, and when; `role` decides where it is drawn."""

    role: Literal["person", "bot", "notice"]
    who: str
    at_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What the timeline shows."""

    title: str
    subtitle: str
    person: str
    bot: str
    recording: Recording
    lines: Sequence[TimelineEntry]
    answers: Sequence[ResponseTime]
    facts: Sequence[tuple[str, str]]
    """Value and label, shown at the top right."""
    handovers: Sequence[float] = ()
    """When the call went on in another conversation with its engine, in seconds."""


@dataclass(frozen=True, slots=True)
class Bubble:
    """Words beside a voice, laid out."""

    left: float
    width: float
    rows: Sequence[str]

    @property
    def height(self) -> int:
        """Including its padding."""
        return len(self.rows) * BUBBLE_ROW + 2 * BUBBLE_PAD - 5


def draw(picture: Picture) -> Image.Image:
    """The timeline as an image, `WIDTH` pixels wide."""
    return TimelineLayout(picture).image()


class TimelineLayout:
    """The layout, from top to bottom: head, the person's words and voice, the waits, the bot's voice and words, the chat, the time."""

    def __init__(self, picture: Picture) -> None:
        self._picture = picture
        self._left, self._right = MARGIN + GUTTER, WIDTH - MARGIN
        self._seconds = max(1.0, picture.recording.seconds)
        notices = [line for line in picture.lines if line.role == "notice"]
        self._rows = list(self._stacked(notices))
        self._said, self._answered = list(self._bubbles("person")), list(self._bubbles("bot"))
        self._person_top = MARGIN + HEAD + tallest(self._said)
        self._bot_top = self._person_top + LANE + GAP
        self._chat_top = self._bot_top + LANE + tallest(self._answered) + 22 + 10 * bool(picture.handovers)
        self._axis = self._chat_top + (max((row for row, _ in self._rows), default=-1) + 1) * ROW + 12
        self._canvas = Canvas(WIDTH, self._axis + 34 + MARGIN - 12, PAPER)

    def image(self) -> Image.Image:
        """Draw everything, from back to front."""
        self._draw_head()
        self._draw_time()
        self._draw_lane(self._picture.person, self._picture.recording.person, self._person_top, PERSON)
        self._draw_lane(self._picture.bot, self._picture.recording.bot, self._bot_top, BOT)
        for at_s in self._picture.handovers:
            self._draw_handover(at_s)
        for answer in self._picture.answers:
            self._draw_wait(answer)
        self._draw_bubbles(self._said, PERSON, bottom=self._person_top - 14)
        self._draw_bubbles(self._answered, BOT, top=self._bot_top + LANE + 14 + 10 * bool(self._picture.handovers))
        self._draw_chat()
        return self._canvas.finished()

    def _x(self, seconds: float) -> float:
        return self._left + (self._right - self._left) * min(max(seconds, 0.0), self._seconds) / self._seconds

    def _draw_head(self) -> None:
        self._canvas.text(MARGIN, MARGIN, self._picture.title, 36, INK, bold=True)
        self._canvas.text(MARGIN, MARGIN + 54, self._picture.subtitle, 21, SOFT)
        right = float(self._right)
        for value, label in reversed(self._picture.facts):
            self._canvas.text(right, MARGIN, value, 32, INK, anchor="ra", bold=True)
            self._canvas.text(right, MARGIN + 54, label, 17, SOFT, anchor="ra")
            right -= max(text_width(value, 32), text_width(label, 17)) + 44

    def _draw_time(self) -> None:
        per_second = (self._right - self._left) / self._seconds
        step = next((tick for tick in TICKS_S if tick * per_second >= TICK_NARROWEST), TICKS_S[-1])
        for number in range(int(self._seconds / step) + 1):
            seconds = number * step
            self._canvas.line((self._x(seconds), self._person_top - 8), (self._x(seconds), self._axis), colour=GRID)
            self._canvas.text(self._x(seconds), self._axis + 8, clock_face(seconds), 17, SOFT, anchor="ma")

    def _draw_lane(self, name: str, pcm: bytes, top: int, colour: Colour) -> None:
        middle = top + LANE / 2
        self._canvas.disc(MARGIN + 24, middle, 24, colour)
        self._canvas.text(MARGIN + 24, middle, name[:1].upper(), 24, PAPER, anchor="mm", bold=True)
        self._canvas.text(MARGIN + 60, middle, name, 22, INK, anchor="lm")
        for span in spans(pcm):
            self._canvas.box(self._x(span.start_s) - 6, top, self._x(span.end_s) + 6, top + LANE, tinted(colour, 0.09), radius=12)
        self._canvas.line((self._left, middle), (self._right, middle), colour=tinted(colour, 0.35), width=2)
        for x, height in self._bars(pcm):
            self._canvas.box(x, middle - height / 2, x + BAR, middle + height / 2, colour, radius=BAR / 2)

    def _bars(self, pcm: bytes) -> Iterator[tuple[float, float]]:
        """Left edge and height of each bar: the level under it, compressed so that quiet speech shows too."""
        per_second = (self._right - self._left) / BAR_STEP / self._seconds
        recording = self._picture.recording
        loudest = max([1e-3, *levels(recording.person, per_second), *levels(recording.bot, per_second)])
        for number, level in enumerate(levels(pcm, per_second)):
            height = LANE * LOUDEST_SHARE * (level / loudest) ** 0.65
            if height > BAR:
                yield self._left + number * BAR_STEP, height

    def _draw_handover(self, at_s: float) -> None:
        """A line across the bot's lane, with a word at its foot."""
        x, top, bottom = self._x(at_s), self._bot_top, self._bot_top + LANE
        self._canvas.line((x, top - 4), (x, bottom + 4), colour=HANDED_OVER, width=2.5)
        self._canvas.disc(x, top - 4, 6, HANDED_OVER)
        half = text_width(HANDOVER, 16) / 2 + 9
        center = min(max(x, self._left + half), self._right - half)
        self._canvas.box(center - half, bottom - 8, center + half, bottom + 16, PAPER, radius=12, outline=HANDED_OVER)
        self._canvas.text(center, bottom + 4, HANDOVER, 16, HANDED_OVER, anchor="mm")

    def _draw_wait(self, answer: ResponseTime) -> None:
        """From the person's side to the bot's first sound: down, along, down; with how long it took."""
        asked, answered = self._x(answer.asked_s), max(self._x(answer.answered_s), self._x(answer.asked_s) + 2)
        top, bottom = self._person_top + LANE + 4, self._bot_top - 6
        middle = (top + bottom) / 2
        self._canvas.line((asked, top), (asked, middle), (answered, middle), (answered, bottom - 8), colour=ANSWERED, width=2.5)
        self._canvas.disc(asked, top, 4.5, ANSWERED)
        self._canvas.triangle((answered - 7, bottom - 10), (answered + 7, bottom - 10), (answered, bottom + 2), colour=ANSWERED)
        label = f"{answer.latency_ms:.0f} ms"
        half = text_width(label, 18) / 2 + 11
        center = max((asked + answered) / 2, self._left + half)
        self._canvas.box(center - half, middle - 15, center + half, middle + 15, PAPER, radius=15, outline=ANSWERED)
        self._canvas.text(center, middle, label, 18, ANSWERED, anchor="mm")

    def _bubbles(self, role: str) -> Iterator[Bubble]:
        """Each line of a role where it was said; one that would not fit before the next begins further left, as far as there is space."""
        lines = sorted((line for line in self._picture.lines if line.role == role), key=lambda line: line.at_s)
        free = float(self._left)
        for line, following_s in zip(lines, [*(line.at_s for line in lines[1:]), math.inf], strict=False):
            right = self._x(following_s) - 18 if following_s < math.inf else float(self._right)
            wanted = min(BUBBLE_WIDEST, text_width(line.text, BUBBLE_SIZE) / BUBBLE_LINES * 1.2 + 2 * BUBBLE_PAD + 40)
            left = max(free, min(self._x(line.at_s) - 6, right - wanted))
            room = max(BUBBLE_NARROWEST, min(BUBBLE_WIDEST, right - left)) - 2 * BUBBLE_PAD
            rows = wrapped(line.text, BUBBLE_SIZE, room, BUBBLE_LINES)
            width = max((text_width(row, BUBBLE_SIZE) for row in rows), default=0.0) + 2 * BUBBLE_PAD
            yield Bubble(left, width, rows)
            free = left + width + 12

    def _draw_bubbles(self, bubbles: Sequence[Bubble], colour: Colour, *, bottom: float | None = None, top: float = 0) -> None:
        for bubble in bubbles:
            y = top if bottom is None else bottom - bubble.height
            self._canvas.box(bubble.left, y, bubble.left + bubble.width, y + bubble.height, tinted(colour, 0.14), radius=11)
            for number, row in enumerate(bubble.rows):
                self._canvas.text(bubble.left + BUBBLE_PAD, y + BUBBLE_PAD + number * BUBBLE_ROW - 1, row, BUBBLE_SIZE, INK)

    def _stacked(self, notices: Sequence[TimelineEntry]) -> Iterator[tuple[int, TimelineEntry]]:
        """Each notice with a row in which it overlaps no other one."""
        ends: list[float] = []
        for line in sorted(notices, key=lambda line: line.at_s):
            left, width = self._notice_place(line)
            row = next((number for number, end in enumerate(ends) if end < left), len(ends))
            ends[row:] = [left + width + 24, *ends[row + 1 :]]
            yield row, line

    def _notice_place(self, line: TimelineEntry) -> tuple[float, float]:
        """Left edge and width; a notice that would end beyond the right edge is placed left of its dot."""
        width = text_width(line.text, NOTICE_SIZE) + 20
        x = self._x(line.at_s)
        return (max(self._left, x - width + 6), width) if self._flipped(line) else (x - 6, width)

    def _flipped(self, line: TimelineEntry) -> bool:
        room = self._right - self._x(line.at_s)
        return text_width(line.text, NOTICE_SIZE) + 20 > room and room < (self._right - self._left) / 2

    def _draw_chat(self) -> None:
        if self._rows:
            self._canvas.text(MARGIN + 60, self._chat_top + ROW / 2, "chat", 20, SOFT, anchor="lm")
        for row, line in self._rows:
            x, middle = self._x(line.at_s), self._chat_top + row * ROW + ROW / 2
            room = (x - self._left if self._flipped(line) else self._right - x) - 14
            [text] = wrapped(line.text, NOTICE_SIZE, room, 1) or [""]
            self._canvas.disc(x, middle, 4.5, SOFT)
            self._canvas.text(
                x - 12 if self._flipped(line) else x + 12, middle, text, NOTICE_SIZE, SOFT, anchor="rm" if self._flipped(line) else "lm"
            )


def tallest(bubbles: Sequence[Bubble]) -> int:
    """The height of a row of bubbles with its distance to the voice; nothing where there are none."""
    return max((bubble.height + 14 for bubble in bubbles), default=0)


def tinted(colour: Colour, strength: float) -> Colour:
    """A colour mixed with the background."""
    red, green, blue = (round(paper + (ink - paper) * strength) for paper, ink in zip(PAPER, colour, strict=True))
    return red, green, blue


def clock_face(seconds: float) -> str:
    """Seconds up to a minute, minutes and seconds beyond."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:g} s"
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
