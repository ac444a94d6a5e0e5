"""Text made fit for a Discord message: harmless markdown, pieces below the limit. Pure."""

import re
from collections.abc import Iterator

from discordplex.plaintext import one_line, visible

PIECE_LIMIT = 1_900
"""Longest piece, in code points. Discord takes 2,000 characters a message; how it counts emoji is not documented, hence the margin."""

LONGEST_NAME = 64
"""Characters of a person's name that are shown. Discord allows 32."""

MOST_MESSAGES = 5
"""What one answer or notice may become."""

NOTHING = "…"
"""What stands for an empty text: Discord takes none."""

ANYWHERE = re.compile(r"([\\*_~`|<\[])")
"""What begins a style, a spoiler, code, a mention or a masked link wherever it stands."""

LINE_START = re.compile(r"^([ \t]*)(#(?=#{0,2}\s)|>(?=\s|>>)|-(?=[\s#])|\d+(?=\.\s))", re.MULTILINE)
"""What begins a heading, a quote or a list where it opens a line."""

SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+")
"""A full stop with what may follow it, then space."""


def harmless(text: str) -> str:
    """The same words, so escaped that Discord shows them as they are: no style, no mention, no link behind other words, nothing unseen."""
    escaped = ANYWHERE.sub(r"\\\1", visible(text))
    return LINE_START.sub(lambda found: f"{found[1]}{escape_opening(found[2])}", escaped)


def escape_opening(opening: str) -> str:
    """A line's opening as text. The number of a list is escaped behind itself: a backslash before a digit is shown."""
    return f"{opening}\\" if opening.isdigit() else f"\\{opening}"


def shorten(text: str, length: int) -> str:
    """The first words of `text` within `length` characters, with an ellipsis where something is missing."""
    flat = one_line(text)
    if len(flat) <= length:
        return flat
    head = flat[: length - 1]
    return f"{head.rpartition(' ')[0] or head}…"


def split(text: str, limit: int = PIECE_LIMIT) -> Iterator[str]:
    """`text` in pieces of at most `limit` characters, cut behind a sentence, else behind a word, else anywhere.

    A cut depends on nothing but the piece's own characters and the one behind them: what was cut stays cut the same way while the text
    grows. Only the white space at a cut is lost.
    """
    rest = text.strip()
    while len(rest) > limit:
        at = cut(rest, limit)
        yield rest[:at].rstrip()
        rest = rest[at:].lstrip()
    if rest:
        yield rest


def messages(text: str) -> list[str]:
    """Any text of ours as the messages that Discord takes: each below its limit, and not more of them than anybody reads."""
    pieces = list(split(text))
    if len(pieces) > MOST_MESSAGES:
        pieces = [*pieces[: MOST_MESSAGES - 1], f"{pieces[MOST_MESSAGES - 1][: PIECE_LIMIT - 1]}…"]
    return pieces or [NOTHING]


def cut(text: str, limit: int) -> int:
    """Where to end a piece of a text that is longer than `limit`; never within an escape."""
    window = text[: limit + 1]
    ends = [found.end() for found in SENTENCE_END.finditer(window) if found.end() > limit // 2]
    if ends:
        return ends[-1]
    word = max(window.rfind(" "), window.rfind("\n"))
    if word > limit // 2:
        return word
    backslashes = len(text[:limit]) - len(text[:limit].rstrip("\\"))
    return limit - backslashes % 2
