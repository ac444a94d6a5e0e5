"""TextJoiner: pieces of text as the model's tokenizer cuts them, joined to text for people. Pure.

A server sends one SentencePiece piece per message. Most are word fragments, to be joined as they are. A character that the vocabulary lacks
comes as its UTF-8 bytes, one piece each, spelled in ASCII: `<0xC3>`, `<0xA9>` (seen on moshi 0.2.13). The servers do not filter the
sentence marks `<s>` and `</s>` either.
"""

import codecs
import re

MARK = re.compile(r"<0x([0-9A-Fa-f]{2})>|</?s>")


class TextJoiner:
    """Joins the bytes that arrive as `<0xNN>`, drops sentence marks, and passes everything else through. One per conversation."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, piece: str) -> str:
        """The text that `piece` completes: "" while a character's bytes are still coming. Bytes that form no character become U+FFFD."""
        found = []
        position = 0
        for mark in MARK.finditer(piece):
            found.append(self._plain(piece[position : mark.start()]))
            if mark[1] is not None:
                found.append(self._decoder.decode(bytes((int(mark[1], 16),))))
            position = mark.end()
        found.append(self._plain(piece[position:]))
        return "".join(found)

    def flush(self) -> str:
        """The rest of an unfinished character: U+FFFD or nothing. The joiner starts over afterwards."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest

    def _plain(self, text: str) -> str:
        return self.flush() + text if text else ""
