"""What a chat model writes, turned into what can be spoken: no markdown, no addresses, no emoji. Pure.

No expression has two ways to match the same characters, so each takes time linear in the text.
"""

import re
from typing import Final

LINK: Final = re.compile(r"!?\[([^\[\]]*)\]\((?:[^()]|\([^()]*\))*\)")
URL: Final = re.compile(r"https?://\S+")
LINE_START: Final = re.compile(r"^[^\S\n]{0,8}(?:#{1,6}[^\S\n]+|[-*+][^\S\n]+|>[^\S\n]*)", re.MULTILINE)
EMPHASIS: Final = re.compile(r"(?<![\w*)])(\*{1,3})(?=[^\s*])([^*\n]+)(?<=\S)\1(?!\*)")
"""Emphasis that begins and ends outside words. Emphasis that was cut apart, or lies within a word, is left to MARKUP."""
PRODUCT: Final = r"(?<![\w*.,])(?:\d\w*|[a-zA-Z\u0391-\u03c9])(?:\*{1,2}[+\-\u2212]?[\w.]+)+(?![\w*])"
"""A product that begins with a number or a variable, such as `2*pi*r` and `3*-2`."""
MARKUP: Final = re.compile(rf"{PRODUCT}|\*+|~~+|`+|(?<!\w)_+|_+(?!\w)")

PICTOGRAPH: Final = (
    "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u2388\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2\u25aa\u25ab"
    "\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff\U0001fc00-\U0001fffd"
)
"""Extended_Pictographic of Unicode's emoji-data.txt, versions 11 to 17, with the rest of the blocks that are nearly full of it; skin tones
and the letters of flags are among them."""
SYMBOL: Final = re.compile(f"[{PICTOGRAPH}][{PICTOGRAPH}\u200d\ufe0e\ufe0f]*|[\u20e3\ufe0e\ufe0f\U000e0000-\U000e007f]+")
"""Also keycaps, variation selectors and tags. A zero-width joiner counts only between pictographs: letters need it."""


def spoken(chunk: str) -> str:
    """A chunk without markdown, link addresses and emoji, its white space collapsed."""
    text = LINK.sub(r"\1", chunk)
    text = URL.sub("", text)
    text = LINE_START.sub("", text)
    text = EMPHASIS.sub(r"\2", text)
    text = MARKUP.sub(kept_markup, text)
    return " ".join(SYMBOL.sub("", text).split())


def kept_markup(found: re.Match[str]) -> str:
    """What is kept of a product, or of a run of stars, underscores, tildes or backquotes: a star between two operands is no markup."""
    run, text = found[0], found.string
    if run[0] != "*":
        return run if run[0].isalnum() else ""
    before, behind = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
    if before.isspace() and behind.isspace():
        return run
    left, right = operand(text[max(0, found.start() - 2) : found.start()][::-1]), operand(text[found.end() : found.end() + 2])
    digits = (before.isdecimal() and behind.isalnum()) or (behind.isdecimal() and before.isalnum())
    return run if digits or (left and right) else ""


def operand(text: str) -> bool:
    """Whether the text next to an operator, read away from it, is an operand: a number, one letter, or a bracket."""
    return text[:1].isdecimal() or text[:1] in {"(", ")"} or (text[:1].isascii() and text[:1].isalpha() and not text[1:2].isalnum())
