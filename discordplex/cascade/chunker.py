"""Chunker: the text of a reply, while it is written, to chunks that are spoken one after the other. Pure.

The first chunk is short so that the voice starts soon; the others end at sentences so that they sound whole. No more text is kept than one
chunk can have, and each character is searched for the end of a sentence once, however the text arrives.
"""

import re
from collections.abc import Iterator
from typing import Final

FIRST_CHUNK_CHARACTERS = 24
"""The length limit of the first chunk. It is cut at a word once three quarters of it are there: four tokens, 54 ms at 18 ms a token;
waiting for all of it would take another 36."""
LONGEST_CHUNK_CHARACTERS = 220
"""A sentence without an end is cut at its last clause or word before this."""
SHORTEST_CLAUSE_CHARACTERS = 6
"""A shorter opening clause ("Well,") is not worth a request of its own."""
LOOK_AHEAD: Final = 16
"""Characters read beyond the end of a chunk, to see what follows."""
LONGEST_WORD: Final = 17
"""Characters looked at before a full stop, to see whether it ends an abbreviation."""

ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof st sr jr vs etc e.g i.e a.m p.m u.s u.k no fig approx dept est inc ltd co z.b usw bzw ca nr".split()  # noqa: SIM905 -- a list to read
)
FULL_STOPS: Final = ".!?\u2026\u037e\u06d4\u2024\ufe52\uff0e"
"""These also occur within words, numbers and abbreviations, and end a sentence only before white space."""
TERMINALS: Final = (
    "\u0589\u061d-\u061f\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u0f0d-\u0f11\u104a\u104b\u1362\u1367\u1368\u166e\u1735"
    "\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8-\u1aab\u1b4e\u1b4f\u1b5a\u1b5b\u1b5e\u1b5f\u1b7d-\u1b7f\u1c3b\u1c3c\u1c7e\u1c7f"
    "\u203c\u203d\u2047-\u2049\u2cf9-\u2cfb\u2e2e\u2e3c\u2e53\u2e54\u2e60\u2e61\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce"
    "\ua8cf\ua92f\ua9c8\ua9c9\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\ufe12\ufe15\ufe16\ufe56\ufe57\uff01\uff1f\uff61"
    "\U00010a56\U00010a57\U00010f55-\U00010f59\U00010f86-\U00010f89\U00011047\U00011048\U000110be-\U000110c1\U00011141-\U00011143"
    "\U000111c5\U000111c6\U000111cd\U000111de\U000111df\U00011238\U00011239\U0001123b\U0001123c\U000112a9\U000113d4\U000113d5\U0001144b"
    "\U0001144c\U000115c2\U000115c3\U000115c9-\U000115d7\U00011641\U00011642\U0001173c-\U0001173e\U00011944\U00011946\U00011a42\U00011a43"
    "\U00011a9b\U00011a9c\U00011c41\U00011c42\U00011ef7\U00011ef8\U00011f43\U00011f44\U00016a6e\U00016a6f\U00016af5\U00016b37\U00016b38"
    "\U00016b44\U00016d6e\U00016d6f\U00016e98\U0001bc9f\U0001da88"
)
"""The other characters with the property Sentence_Terminal in Unicode's PropList.txt, and Tibetan's shad. They end a sentence whatever
follows, since many of their scripts are written without spaces."""
SENTENCE_END = re.compile(
    rf"(?P<mark>[{FULL_STOPS}]{{1,8}}[\"'”’»)\]]{{0,4}})(?=\s)|[{TERMINALS}][{TERMINALS}!?]{{0,8}}[\"'”’»」』)\]]{{0,4}}|\n+"
)
UNDECIDED = re.compile(rf"[{FULL_STOPS}]{{1,8}}[\"'”’»)\]]{{0,4}}$")
"""What comes next decides whether this ends a sentence."""
CLAUSE_END = re.compile(r"[,;:–—\u060c\u061b\u1363-\u1366](?=\s)|[，、；：]")
NUMBERED = re.compile(r"(?:^|\s)\d{1,15}$")
BREAK = re.compile(r"(?<![*+/=<>^\u00d7\u00f7])\s(?=\S)(?![*+\-/=<>^\u00d7\u00f7]+(?:\s|$))")
"""Where a sentence can be cut if necessary: after a word, but next to no operator, which would then look like markup."""


class Chunker:
    """Cuts the text of one reply. `feed` returns the chunks that are complete; `finish` returns the rest."""

    def __init__(self, *, first_characters: int = FIRST_CHUNK_CHARACTERS) -> None:
        self._first_characters = first_characters
        self._rest = ""
        self._searched = 0
        """There is no end of a sentence before this index of the rest."""
        self._spoken_any = False

    @property
    def kept(self) -> int:
        """How many characters wait to become a chunk."""
        return len(self._rest)

    def feed(self, delta: str) -> Iterator[str]:
        """Take the next delta of the reply."""
        start = 0
        while start < len(delta):
            end = start + max(1, self._limit + LOOK_AHEAD - len(self._rest))
            self._rest += delta[start:end] if self._rest else delta[start:end].lstrip()
            start = end
            while (cut := self._cut()) is not None:
                yield from self._take(cut)

    def finish(self) -> Iterator[str]:
        """The reply is complete: return what is left, however short."""
        yield from self._take(len(self._rest))

    def drop(self) -> None:
        """Discard what is kept: it was not meant to be spoken."""
        self._rest, self._searched, self._spoken_any = "", 0, False

    @property
    def _limit(self) -> int:
        return LONGEST_CHUNK_CHARACTERS if self._spoken_any else self._first_characters

    def _take(self, cut: int) -> Iterator[str]:
        chunk, self._rest, self._searched = self._rest[:cut].strip(), self._rest[cut:].lstrip(), 0
        if any(character.isalnum() for character in chunk):
            self._spoken_any = True
            yield chunk

    def _cut(self) -> int | None:
        """Where the next chunk ends, None while it is incomplete."""
        limit = self._limit
        end, self._searched = sentence_end(self._rest, self._searched)
        if end is not None and end <= limit:
            return end
        if not self._spoken_any and (clause := first_clause_end(self._rest)) is not None and clause <= limit:
            return clause
        if len(self._rest) > limit:
            return last_break(self._rest, limit)
        if not self._spoken_any and len(self._rest) > limit * 3 // 4:
            return last_space(self._rest, len(self._rest))
        return None


def sentence_end(text: str, searched: int = 0) -> tuple[int | None, int]:
    """The index after the first sentence of `text`, None where it may be incomplete; and from where to search once more has come.

    The search begins at `searched`.
    """
    for match in SENTENCE_END.finditer(text, searched):
        before = text[max(0, match.start() - LONGEST_WORD) : match.start()]
        if match["mark"] == "." and (last_word(before).lower() in ABBREVIATIONS or NUMBERED.search(before)):
            continue
        if before.strip():
            return match.end(), match.start()
    undecided = UNDECIDED.search(text, max(searched, len(text) - LOOK_AHEAD))
    return None, undecided.start() if undecided else len(text)


def first_clause_end(text: str) -> int | None:
    """The index after the first clause that is long enough to be spoken alone."""
    return next((match.end() for match in CLAUSE_END.finditer(text) if match.end() >= SHORTEST_CLAUSE_CHARACTERS), None)


def last_break(text: str, limit: int) -> int:
    """The best place to cut at or before `limit`: after a clause in the later part, else after a word, else right at `limit`."""
    clauses = [match.end() for match in CLAUSE_END.finditer(text, 0, limit + 1) if limit // 3 <= match.end() <= limit]
    if clauses:
        return clauses[-1]
    return last_space(text, limit + 1) or limit


def last_space(text: str, end: int) -> int | None:
    """The last white space before `end` at which a sentence can be cut, None where there is none."""
    found = None
    for match in BREAK.finditer(text, 1, len(text)):
        if match.start() >= end:
            break
        found = match.start()
    return found


def last_word(text: str) -> str:
    """What follows the last white space or opening bracket."""
    return re.split(r"[\s(\[\"']", text)[-1]
