"""What a chat model writes -> what can be said aloud: no hidden thoughts, no markdown. Pure."""

import re

HIDDEN = {"<think>": "</think>", "<thinking>": "</thinking>", "```": "```"}
"""What is never spoken, from its opening to its closing: a model's thoughts and blocks of code."""
LONGEST_MARK = max(len(mark) for pair in HIDDEN.items() for mark in pair)

LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
URL = re.compile(r"https?://\S+")
LINE_START = re.compile(r"^\s*(?:#{1,6}\s+|[-*+]\s+|>\s*)", re.MULTILINE)
EMPHASIS = re.compile(r"(\*\*\*|\*\*|__|~~|\*|`)|(?<!\w)_|_(?!\w)")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f\u200d]")


class HiddenFilter:
    """Deltas in, deltas out without what is hidden, wherever the marks were cut apart."""

    def __init__(self) -> None:
        self._rest = ""
        self._closing: str | None = None

    def feed(self, delta: str) -> str:
        """The visible part of what is certain by now."""
        self._rest += delta
        visible = ""
        while True:
            if self._closing is not None:
                _, mark, behind = self._rest.partition(self._closing)
                if not mark:
                    self._rest = self._rest[-LONGEST_MARK:]
                    return visible
                self._rest, self._closing = behind, None
            found = [(at, mark) for mark in HIDDEN if (at := self._rest.find(mark)) >= 0]
            if not found:
                keep = undecided(self._rest)
                visible += self._rest[: len(self._rest) - keep]
                self._rest = self._rest[len(self._rest) - keep :]
                return visible
            at, mark = min(found)
            visible += self._rest[:at]
            self._rest, self._closing = self._rest[at + len(mark) :], HIDDEN[mark]

    def finish(self) -> str:
        """The reply is complete: what was held back because it looked like the start of a mark."""
        rest, self._rest = self._rest, ""
        return "" if self._closing is not None else rest


def undecided(text: str) -> int:
    """How many characters at the end may be the beginning of a mark."""
    longest = min(len(text), LONGEST_MARK - 1)
    return next((length for length in range(longest, 0, -1) if any(mark.startswith(text[-length:]) for mark in HIDDEN)), 0)


def spoken(chunk: str) -> str:
    """A chunk without markdown, links' addresses and emoji, its white space folded."""
    text = LINK.sub(r"\1", chunk)
    text = URL.sub("", text)
    text = LINE_START.sub("", text)
    text = EMPHASIS.sub("", text)
    return " ".join(EMOJI.sub("", text).split())
