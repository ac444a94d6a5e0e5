"""A reply while it is being written -> pieces that can be spoken one after the other.

Pure. The first piece comes early so that the voice starts soon, the others at sentence ends so that they sound whole.
"""

import re
from collections.abc import Iterator

FIRST_CHUNK_CHARACTERS = 24
"""The most that the first piece has. It is cut at a word once three quarters of it are there: four tokens, 54 ms at 18 ms a token, where
waiting for all of it would take another 36."""
LONGEST_CHUNK_CHARACTERS = 220
"""A sentence without an end is cut at its last clause or word before this."""
SHORTEST_CLAUSE_CHARACTERS = 6
"""A shorter opening clause ("Well,") is not worth a request of its own."""

ABBREVIATIONS = frozenset(
    "dr mr mrs ms prof st sr jr vs etc e.g i.e a.m p.m u.s u.k no fig approx dept est inc ltd co z.b usw bzw ca nr".split()  # noqa: SIM905 -- a list to read
)
SENTENCE_END = re.compile(r"(?P<mark>[.!?…]+[\"'”’)\]]*)(?=\s)|[。！？]|\n+")
CLAUSE_END = re.compile(r"[,;:–—](?=\s)|[，、；：]")
NUMBERED = re.compile(r"(?:^|\s)\d+$")


class Chunker:
    """One reply's text, delta by delta. `feed` gives the pieces that are now whole; `finish` gives the rest."""

    def __init__(self, *, first_characters: int = FIRST_CHUNK_CHARACTERS) -> None:
        self._first_characters = first_characters
        self._rest = ""
        self._spoken_any = False

    def feed(self, delta: str) -> Iterator[str]:
        """Take the next piece of the reply."""
        self._rest += delta
        while (cut := self._cut()) is not None:
            yield from self._take(cut)

    def finish(self) -> Iterator[str]:
        """The reply is complete: what is left, however short."""
        yield from self._take(len(self._rest))

    def _take(self, cut: int) -> Iterator[str]:
        chunk, self._rest = self._rest[:cut].strip(), self._rest[cut:].lstrip()
        if any(character.isalnum() for character in chunk):
            self._spoken_any = True
            yield chunk

    def _cut(self) -> int | None:
        """Where the next piece ends, None while it is not whole."""
        limit = LONGEST_CHUNK_CHARACTERS if self._spoken_any else self._first_characters
        end = sentence_end(self._rest)
        if end is not None and end <= limit:
            return end
        if not self._spoken_any and (clause := first_clause_end(self._rest)) is not None and clause <= limit:
            return clause
        if len(self._rest) > limit:
            return last_break(self._rest, limit)
        if not self._spoken_any and len(self._rest) > limit * 3 // 4:
            return self._rest.rfind(" ", 1) if " " in self._rest[1:] else None
        return None


def sentence_end(text: str) -> int | None:
    """The index behind the first sentence of `text`, None where it may not be complete."""
    for match in SENTENCE_END.finditer(text):
        before = text[: match.start()]
        if match["mark"] == "." and (last_word(before).lower() in ABBREVIATIONS or NUMBERED.search(before)):
            continue
        if before.strip():
            return match.end()
    return None


def first_clause_end(text: str) -> int | None:
    """The index behind the first clause that is long enough to be spoken alone."""
    return next((match.end() for match in CLAUSE_END.finditer(text) if match.end() >= SHORTEST_CLAUSE_CHARACTERS), None)


def last_break(text: str, limit: int) -> int:
    """The best place to cut at or before `limit`: behind a clause in the later part, else behind a word, else right there."""
    clauses = [match.end() for match in CLAUSE_END.finditer(text, 0, limit + 1) if limit // 3 <= match.end() <= limit]
    if clauses:
        return clauses[-1]
    space = text.rfind(" ", 1, limit + 1)
    return space if space > 0 else limit


def last_word(text: str) -> str:
    """What stands behind the last white space or opening bracket."""
    return re.split(r"[\s(\[\"']", text)[-1]
