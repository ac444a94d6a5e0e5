"""An image to draw on with antialiasing and wrapped text, in Pillow's own font: no system font is needed."""

import unicodedata
from functools import lru_cache
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

Colour: TypeAlias = tuple[int, int, int]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

DRAWN = 2
"""Everything is drawn this many times larger and scaled down, because Pillow's shapes have hard edges."""

UNKNOWN = "\U0010ffff"
"""A character that no font has: shows what a missing glyph looks like."""


class Canvas:
    """An image of `width` times `height` pixels; all coordinates and sizes are in pixels of the finished image."""

    def __init__(self, width: int, height: int, paper: Colour) -> None:
        self.width, self.height = width, height
        self._image = Image.new("RGB", (width * DRAWN, height * DRAWN), paper)
        self._draw = ImageDraw.Draw(self._image)

    def finished(self) -> Image.Image:
        """The image, edges softened."""
        return self._image.resize((self.width, self.height), Image.Resampling.LANCZOS)

    def box(
        self, left: float, top: float, right: float, bottom: float, colour: Colour, *, radius: float = 0, outline: Colour | None = None
    ) -> None:
        """A filled rectangle with round corners."""
        corners = (left * DRAWN, top * DRAWN, right * DRAWN, bottom * DRAWN)
        self._draw.rounded_rectangle(corners, radius * DRAWN, fill=colour, outline=outline, width=DRAWN if outline else 0)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self._draw.ellipse([value * DRAWN for value in (x - radius, y - radius, x + radius, y + radius)], fill=colour)

    def line(self, *points: tuple[float, float], colour: Colour, width: float = 1) -> None:
        """A line through all points, corners rounded."""
        self._draw.line([(x * DRAWN, y * DRAWN) for x, y in points], fill=colour, width=round(width * DRAWN), joint="curve")

    def triangle(self, *points: tuple[float, float], colour: Colour) -> None:
        """A filled polygon."""
        self._draw.polygon([(x * DRAWN, y * DRAWN) for x, y in points], fill=colour)

    def text(self, x: float, y: float, text: str, size: int, colour: Colour, *, bold: bool = False, anchor: str = "la") -> None:
        """One line of text; `anchor` as Pillow's: first l, m, r (left, middle, right), then a, m, s (top, middle, baseline)."""
        text = drawable(text)
        self._draw.text((x * DRAWN, y * DRAWN), text, fill=colour, font=font(size), anchor=anchor, stroke_width=size // 18 if bold else 0)


@lru_cache
def font(size: int) -> Font:
    """Pillow's own font, at the size at which it is drawn."""
    return ImageFont.load_default(size * DRAWN)


def text_width(text: str, size: int) -> float:
    """The width of a line, in pixels."""
    return font(size).getlength(drawable(text)) / DRAWN


def wrapped(text: str, size: int, width: float, most: int) -> list[str]:
    """Text in at most `most` lines of at most `width` pixels; what does not fit ends in three dots."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"{lines[most - 1]} {lines[most]}..."]
    return [shortened(line, size, width) for line in lines]


def shortened(line: str, size: int, width: float) -> str:
    """A line cut to a width, with three dots where something is missing."""
    if text_width(line, size) <= width:
        return line
    while line and text_width(f"{line}...", size) > width:
        line = line[:-1]
    return f"{line.rstrip(' .,')}..."


@lru_cache(maxsize=4096)
def has_glyph(character: str) -> bool:
    """Whether the font can draw it."""
    return character.isspace() or bytes(font(16).getmask(character)) != bytes(font(16).getmask(UNKNOWN))


def drawable(text: str) -> str:
    """Text as the font can draw it: letters that it lacks lose their accents, other missing characters are removed."""
    simpler = (character if has_glyph(character) else unicodedata.normalize("NFKD", character) for character in text)
    return "".join(character for character in "".join(simpler) if has_glyph(character))
