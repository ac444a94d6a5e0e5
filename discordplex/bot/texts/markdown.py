"""Text made fit for a Discord message: harmless markdown, pieces below the limit. Pure."""

import re
from collections.abc import Iterator

from discordplex.plaintext import visible

PIECE_LIMIT = 1_900
"""The longest piece, in code points. Discord takes 2,000 characters; it does not document how it counts emoji, hence the margin."""

LONGEST_NAME = 64
"""How many characters of a person's name are shown. Discord allows 32."""

MOST_MESSAGES = 5
"""The most messages that one answer or notice may become."""

NOTHING = "…"
"""Replaces an empty text, which Discord refuses."""

ANYWHERE = re.compile(r"([\\*_~`|<\[])")
"""Characters that start a style, a spoiler, code, a mention or a masked link anywhere in a line."""

LINE_START = re.compile(r"^([ \t]*)(#(?=#{0,2}\s)|>(?=\s|>>)|-(?=[\s#])|\d+(?=\.\s))", re.MULTILINE)
"""What starts a heading, a quote or a list at the start of a line."""

SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]]*\s+")
"""The end of a sentence: its punctuation, closing quotes or brackets, then white space."""


def harmless(text: str) -> str:
    """The same words, escaped so that Discord shows them as they are: no style, no mention, no masked link, no invisible characters."""
    escaped = ANYWHERE.sub(r"\\\1", visible(text))
    return LINE_START.sub(lambda found: f"{found[1]}{escape_opening(found[2])}", escaped)


def escape_opening(opening: str) -> str:
    """The start of a line, escaped. After a list number the backslash follows the digits: Discord shows a backslash before a digit."""
    return f"{opening}\\" if opening.isdigit() else f"\\{opening}"


def split(text: str, limit: int = PIECE_LIMIT) -> Iterator[str]:
    """`text` in pieces of at most `limit` characters, cut after a sentence, else after a word, else anywhere.

    A cut depends only on the characters of its piece and the next one, so earlier cuts stay the same while the text grows. Only the white
    space at a cut is lost.
    """
    rest = text.strip()
    while len(rest) > limit:
        at = cut(rest, limit)
        yield rest[:at].rstrip()
        rest = rest[at:].lstrip()
    if rest:
        yield rest


def messages(text: str) -> list[str]:
    """A text as messages below Discord's limit; at most `MOST_MESSAGES`, the rest is cut off."""
    pieces = list(split(text))
    if len(pieces) > MOST_MESSAGES:
        pieces = [*pieces[: MOST_MESSAGES - 1], f"{pieces[MOST_MESSAGES - 1][: PIECE_LIMIT - 1]}…"]
    return pieces or [NOTHING]


def cut(text: str, limit: int) -> int:
    """Where to end the first piece of a text that is longer than `limit`; never inside an escape."""
    window = text[: limit + 1]
    ends = [found.end() for found in SENTENCE_END.finditer(window) if found.end() > limit // 2]
    if ends:
        return ends[-1]
    word = max(window.rfind(" "), window.rfind("\n"))
    if word > limit // 2:
        return word
    backslashes = len(text[:limit]) - len(text[:limit].rstrip("\\"))
    return limit - backslashes % 2
