"""Text from strangers made harmless: no line breaks, no hidden characters, no changes of reading direction. Pure.

Names, engines and servers send text that is shown in captions, transcripts, prompts and notices. Its meaning is kept; what only serves to
deceive a reader or a parser is removed.
"""

import re
from typing import Final

INVISIBLE: Final = re.compile(
    "["
    "\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f"  # controls but tab, line feed, carriage return
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # soft hyphen, joiners and fillers that draw nothing
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero width, directions, line and paragraph separators
    "\u3164\ufeff\uffa0\ufff0-\ufffb"  # fillers, byte order mark, annotations
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # musical formatting, tags and supplementary selectors
    "\ud800-\udfff"  # half a character: no encoder takes it
    "]"
)
"""Default_Ignorable_Code_Point and Cc of Unicode 15, except what scripts and emoji need: the two joiners and the variation selectors."""

JOINERS: Final = re.compile("(?<![^\\s\u200c\u200d])[\u200c\u200d]+|[\u200c\u200d]+(?=[\\s\u200c\u200d]|$)")
"""A joiner joins two characters (Persian, Hindi, families of emoji); at an edge, or more than one, it only hides something."""

MOST_MARKS: Final = 4
MARKS: Final = re.compile(
    f"([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{{{MOST_MARKS}}})[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+"
)
"""No language stacks more combining marks on a letter; more of them would cover the lines around."""

WHITE: Final = re.compile(r"[\s\u2028\u2029\u0085]+")


MODEL_NAME: Final = re.compile(r"[\w.-]{1,60}(/[\w.-]{1,60})?")
"""A name that people may read, such as `nvidia/personaplex-7b-v1`. Some servers call a model by a path or an address."""


def drawn(text: str) -> str:
    """`text`, which may be a part of a longer one, without single characters that draw nothing or change the reading direction."""
    return INVISIBLE.sub("", text.replace("\u2028", "\n").replace("\u2029", "\n").replace("\u0085", "\n"))


def visible(text: str) -> str:
    """`text` without characters that draw nothing or change the reading direction. Line breaks stay."""
    seen = drawn(text)
    return MARKS.sub(r"\1", JOINERS.sub("", seen))


def trimmed(text: str) -> str:
    """A text without surrounding white space and invisible characters, such as a byte order mark."""
    start, end = 0, len(text)
    while start < end and nothing(text[start]):
        start += 1
    while start < end and nothing(text[end - 1]):
        end -= 1
    return text[start:end]


def nothing(character: str) -> bool:
    """Whether the character is invisible."""
    return character.isspace() or INVISIBLE.match(character) is not None


def one_line(text: str, limit: int | None = None) -> str:
    """`text` as one visible line of at most `limit` characters: for names, captions and a server's own words.

    An ellipsis marks what was cut, after a whole word where there is one in the second half.
    """
    flat = " ".join(WHITE.sub(" ", visible(text)).split())
    if limit is None or len(flat) <= limit:
        return flat
    head = flat[: max(limit - 1, 0)]
    word = flat.rfind(" ", 0, len(head) + 1)
    return f"{head[:word] if word > len(head) // 2 else head.rstrip()}…"


def with_model(service: str, model: str) -> str:
    """A service and its model as people read them: without the model where its name is a path or an address."""
    return f"{service} ({model})" if MODEL_NAME.fullmatch(model) else service
