"""ReasoningFilter: a reply, while it is written, without the model's reasoning, marks and code blocks. Pure.

Chat servers mark reasoning within a reply in many ways, so there is no list of marks here but a grammar: a name between brackets
(`<think>`, `[THINK]`, `◁think▷`, `<|channel|>`, `<seed:think>`), where a word in the name says what follows. No mark is ever spoken,
whatever its name. Each character is examined a fixed number of times, and of hidden text no more than a mark or a header is kept.

Some models start inside their reasoning, so that a reply has only the closing mark. For the first such reply that is known too late: its
beginning may have been spoken, and is retracted (see `Retract`). From then on replies are held until the mark comes (see
`ReasoningFormat`). Holding every reply of every model instead would delay each answer by a second or more.
"""

import enum
import re
from dataclasses import dataclass
from typing import Final, TypeAlias

LONGEST_MARK: Final = 64
LONGEST_LOOSE_MARK: Final = 20
"""Limit of a mark whose bracket is followed by white space: mostly that is a comparison."""
LONGEST_HEADER: Final = 64
"""Limit of the text between, say, `<|channel|>` and `<|message|>`."""
MOST_HELD: Final = 4000
"""Characters of a reply held because they may be reasoning. More is spoken where no closing mark comes."""

CLOSERS: Final = {
    "<": ">",
    "◁": "▷",
    "\uff1c": "\uff1e",
    "[": "]",
    "{": "}",
    "【": "】",
    "《": "》",
    "〈": "〉",
    "⟨": "⟩",
    "«": "»",
    "(": ")",
}
ANGLES: Final = "<◁\uff1c"
"""Everything between these is a mark. Text between other brackets mostly is not."""
OPENERS: Final = re.escape("".join(set(CLOSERS) - set(ANGLES)))
SPECIAL: Final = re.compile(rf"[{ANGLES}](?=[^\W\d_]|[0/|\uff5c:@#! \n]|\Z)|[{OPENERS}](?=[^\W\d_]|/|\Z)|[`~]")
"""Where a mark may begin. Characters that cannot be the second one of a mark are excluded here."""
FENCES: Final = ("```", "~~~")
"""Fences of a code block. Tildes count only at the beginning of a line: many people write `yes~~~`."""
COMMENT, COMMENT_END = "<!--", "-->"
BYTE: Final = re.compile(r"0x[0-9A-Fa-f]{2}")
"""A token for one byte, such as `<0x0A>`."""
ENTITIES: Final = {"&lt;": "<", "&gt;": ">"}
BEGUN_ENTITY: Final = re.compile(r"&(?:l|g|lt|gt)?\Z")
JOINED: Final = "assistantfinal"
"""What remains of the marks of gpt-oss where a server has removed the special tokens: "analysisLet me see.assistantfinalYes."."""

WORDS: Final = re.compile(r"[^\W\d_]+")
CORE: Final = (
    r"think|thought|reason|analys|reflect|reflex|scratch|deliberat|monolog|denk|gedank|pensa|pensee|pensée|pensiero|raison|razon|ragion"
    r"|мысл|рассужд|思考|思维|推理|생각|추론"
)
THOUGHT: Final = re.compile(
    rf".*(?:{CORE})|analyz|ponder|rational|cogitat|contemplat|introspect|meditat|brainstorm|plan(?:s|ning)?$|cot$|critique|commentary"
    r"|internal|inner|hidden|tool|function"
)
"""A word that names reasoning, or tool calls, which are not for people either."""
SQUARE: Final = re.compile(f".*(?:{CORE})")
"""The same for brackets that often hold other text."""
RESERVED: Final = re.compile(r"(?:unused|ctrl|reserved\D*)\d+")
"""Reserved tokens, after which some models write what follows."""
TOKENS: Final = re.compile(r"INST|SYSTEM_PROMPT|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS")
"""Mistral's tokens, in square brackets: what follows them is for nobody."""
ASIDES: Final = {"search", "code", "step", "python_tag"}
"""Text between such marks is for tools, or part of the model's work on the answer."""
UNFINISHED: Final = re.compile(r"[<\[◁\uff1c](?:[/|].*|(?i:thi?|thin|think\w*|tho|thou|thought\w*|reason\w*|analy\w*|chan\w*))")
"""A mark at which a reply broke off."""
ANSWER: Final = {"answer", "final", "response", "solution", "output", "reply", "回答", "答案"}
ENDS: Final = {"end", "close", "stop", "eo"}
HEADER: Final = {"channel", "start", "im_start", "start_header_id", "start_of_turn"}
"""After these comes the name of who speaks or of what follows."""
MESSAGE: Final = {"message", "end_header_id"}
"""These end such a header; so does a line break."""
ROLES: Final = {"assistant", "model", "ai"}
OTHERS: Final = {"user", "system", "developer", "human", "observation"}
"""Roles other than the engine: a model that continues for them has gone wrong."""
BREAKS: Final = {"br", "p", "li", "div", "tr"}
"""Tags that separate words."""


@dataclass(slots=True)
class ReasoningFormat:
    """What is known of how a model writes. Each call has its own: one call's people cannot slow down another call's answers."""

    thinks_first: bool = False
    """Its replies begin with reasoning that no mark opens."""


class Retract(enum.Enum):
    """What came before was reasoning and has to be taken back."""

    ALL = enum.auto()


Spoken: TypeAlias = "str | Retract"


class Mode(enum.Enum):
    """What the current text is."""

    SPOKEN = enum.auto()
    THOUGHT = enum.auto()
    CODE = enum.auto()
    HEADER = enum.auto()


class ReasoningFilter:
    """Filters one reply. `feed` each delta, wherever it cuts the marks; then `finish`."""

    def __init__(self, reasoning_format: ReasoningFormat | None = None) -> None:
        """`reasoning_format` is used and updated."""
        self._entity = ""
        """What may become one of ENTITIES."""
        self._comment: str | None = None
        """The last characters of the current comment, None outside of one."""
        self._before = "\n"
        """The last character outside of marks."""
        self._fenced = ""
        """The fence that opened the current code block."""
        self._reasoning_format = reasoning_format or ReasoningFormat()
        self._mode = Mode.SPOKEN
        self._mark = ""
        """What may become a mark, from its bracket on."""
        self._tail = ""
        """The end of the text, where it may be the beginning of JOINED."""
        self._header = ""
        self._opener = ""
        self._holding = self._reasoning_format.thinks_first
        self._held = ""
        self._said_any = False
        self._closed = False
        """A closing mark without an opening one came, and no words since."""
        self._out: list[Spoken] = []

    @property
    def kept(self) -> int:
        """How many characters are kept; bounded whatever comes."""
        return len(self._mark) + len(self._tail) + len(self._header) + len(self._held) + len(self._opener) + len(self._entity)

    def feed(self, delta: str) -> list[Spoken]:
        """What is certainly for people by now."""
        delta = self._entity + delta
        for entity, character in ENTITIES.items():
            delta = delta.replace(entity, character)
        begun = BEGUN_ENTITY.search(delta)
        delta, self._entity = (delta[: begun.start()], begun[0]) if begun else (delta, "")
        self._read(delta)
        return self._taken()

    def _read(self, delta: str) -> None:
        position = 0
        while position < len(delta):
            if self._comment is not None:
                position = self._skip(delta[position], position)
                continue
            if self._mark:
                position = self._grow(delta[position], position)
                continue
            found = SPECIAL.search(delta, position)
            end = found.start() if found else len(delta)
            self._text(delta[position:end])
            self._before = delta[end - 1] if end > position else self._before
            if found and delta[end] == "~" and self._before != "\n":
                self._text("~")
                self._before = "~"
            elif found:
                self._mark = delta[end]
            position = end + 1

    def _skip(self, character: str, position: int) -> int:
        """One more character of a comment."""
        self._comment = ((self._comment or "") + character)[-len(COMMENT_END) :]
        if self._comment == COMMENT_END:
            self._comment = None
        return position + 1

    def finish(self) -> list[Spoken]:
        """The reply is complete: return what was held."""
        self._read(self._entity)
        self._entity = ""
        if self._is_square(self._mark):
            self._apply()
        elif UNFINISHED.fullmatch(self._mark):
            self._mark = ""
        else:
            self._give_up()
        self._end_header(found=False)
        self._flush_tail()
        if self._holding and not self._closed:
            self._holding = self._reasoning_format.thinks_first = False
            self._emit(self._held)
        self._held = ""
        return self._taken()

    def _taken(self) -> list[Spoken]:
        out, self._out = [one for one in self._out if one], []
        return out

    # Marks

    def _grow(self, character: str, position: int) -> int:
        """One more character after a bracket; returns where to continue: at the same character where it ended what is no mark."""
        bracket, closer = self._mark[0], CLOSERS.get(self._mark[0])
        if closer is None:
            if character != bracket:
                self._give_up()
                return position
            self._mark += character
            if self._mark in FENCES:
                self._fence()
            return position + 1
        if self._is_square(self._mark):
            if character == "(":
                self._give_up()  # a link
            else:
                self._apply()
            return position
        if character == closer and len(self._mark) > 1:
            self._mark += character
            if bracket in ANGLES:
                self._apply()
            elif not self._is_square(self._mark):
                self._give_up()
            return position + 1
        longest = LONGEST_LOOSE_MARK if self._mark[1:2].isspace() else LONGEST_MARK
        if len(self._mark) >= longest or not may_be_in_mark(character, bracket, first=len(self._mark) == 1):
            self._give_up()
            return position
        self._mark += character
        self._comment = "" if self._mark == COMMENT else None
        self._mark = self._mark if self._comment is None else ""
        return position + 1

    def _is_square(self, mark: str) -> bool:
        """Whether it is a complete mark in brackets that often hold other text: reasoning by name, a closing mark, the end of reasoning."""
        if mark[:1] in ANGLES or CLOSERS.get(mark[:1]) != mark[-1:]:
            return False
        if mark[0] == "(":
            return mark.lower() in ("(think)", "(/think)")  # other text is common between these
        if mark.startswith("[/") or is_thought(mark[1:-1]) or (mark[0] == "[" and TOKENS.fullmatch(mark[1:-1])):
            return True
        return self._mode is Mode.THOUGHT and bool(ANSWER & set(WORDS.findall(mark.lower())))

    def _give_up(self) -> None:
        """What was kept is no mark but text."""
        mark, self._mark = self._mark, ""
        self._text(mark)
        self._before = mark[-1:]

    def _fence(self) -> None:
        fence, self._mark = self._mark, ""
        if self._mode is Mode.SPOKEN:
            self._flush_tail()
            self._mode, self._fenced = Mode.CODE, fence
        elif self._mode is Mode.CODE and fence == self._fenced:
            self._mode = Mode.SPOKEN

    def _apply(self) -> None:
        """Apply a complete mark."""
        mark, self._mark = self._mark, ""
        body = mark[1:-1].replace("\uff5c", "|").strip()
        name = body.strip("|/ ").lower()
        words = WORDS.findall(name)
        control = "|" in body
        closing = body.strip("| ").startswith("/") or bool(ENDS & set(words)) or (body.endswith("|") and not body.startswith("|"))
        if body.startswith("0"):
            self._text(" " if BYTE.fullmatch(body) else mark)
        elif body.endswith("/") or name in BREAKS:
            self._text(" ")  # it holds nothing
        elif name in MESSAGE:
            self._end_header()
        elif any(THOUGHT.match(word) for word in words) or "working_out" in name or (control and name in OTHERS):
            self._close() if closing else self._open(words[0])
        elif not closing and ((mark[0] == "[" and TOKENS.fullmatch(mark[1:-1])) or name in ASIDES):
            self._open(words[0])
        elif not closing and (name in HEADER or (RESERVED.fullmatch(name) and self._mode is Mode.SPOKEN)):
            self._flush_tail()
            self._mode, self._header = Mode.HEADER, ""
        elif closing or control or RESERVED.fullmatch(name):
            self._end(words[0] if words else "", control=control or not closing)
        elif self._mode is Mode.THOUGHT and ANSWER & set(words):
            self._mode = Mode.SPOKEN
        elif (any(character.isspace() for character in body) and "=" not in body) or "@" in body[1:]:
            self._text(mark)

    def _open(self, word: str) -> None:
        """Reasoning begins."""
        if self._mode is Mode.CODE:
            return
        if self._mode is not Mode.THOUGHT:
            self._flush_tail()
            self._mode, self._opener = Mode.THOUGHT, word[:LONGEST_MARK]
        if self._holding:
            self._holding = False
            self._emit(self._held)
            self._held = ""

    def _close(self) -> None:
        """Reasoning ends, whether or not it was opened."""
        if self._mode in (Mode.SPOKEN, Mode.CODE):
            self._retract()
        self._mode = Mode.SPOKEN

    def _end(self, word: str, *, control: bool) -> None:
        """Something else ends: a message ends its reasoning, any other word what it opened."""
        if self._mode is Mode.HEADER:
            self._end_header()
        elif self._mode is Mode.THOUGHT and (control or word == self._opener):
            self._mode = Mode.SPOKEN

    def _end_header(self, *, found: bool = True) -> None:
        """It is now known for whom the next text is. Unless its end was `found`, it may be no header, or one with the text after it."""
        if self._mode is not Mode.HEADER:
            return
        header, self._header = self._header.lstrip(), ""
        words = WORDS.findall(header.lower())
        if OTHERS & set(words[:1]) or any(THOUGHT.match(word) for word in words):
            self._mode, self._opener = Mode.THOUGHT, "channel"
            return
        self._mode = Mode.SPOKEN
        if words[:1] == ["final"]:
            self._retract()
        if not found:
            self._emit(header[len(words[0]) :] if words and words[0] in ANSWER | ROLES else header)

    # Text

    def _text(self, text: str) -> None:
        if self._mode is Mode.HEADER:
            room = max(0, LONGEST_HEADER - len(self._header))
            end = text.find("\n", 0, room)
            cut = end + 1 if end >= 0 else room
            self._header += text[:cut]
            if end >= 0 or len(self._header) >= LONGEST_HEADER:
                self._end_header(found=False)
                self._text(text[cut:])
        elif self._mode is Mode.SPOKEN and text:
            *before, last = (self._tail + text).split(JOINED)
            self._tail = ""
            for thoughts in before:
                self._emit(thoughts)
                self._retract()
            keep = next((length for length in range(min(len(last), len(JOINED) - 1), 0, -1) if JOINED.startswith(last[-length:])), 0)
            self._tail = last[len(last) - keep :]
            self._emit(last[: len(last) - keep])

    def _flush_tail(self) -> None:
        tail, self._tail = self._tail, ""
        self._emit(tail)

    def _retract(self) -> None:
        """All that came before was reasoning if more text follows; otherwise it was the answer."""
        self._flush_tail()
        self._closed = self._said_any or bool(self._held)

    def _emit(self, text: str) -> None:
        has_words = any(character.isalnum() for character in text)
        if self._closed and has_words:
            if self._said_any:
                self._out.append(Retract.ALL)
            self._reasoning_format.thinks_first = True
            self._closed = self._holding = False
            self._held = ""
        elif self._closed:
            return
        if self._holding:
            self._held += text[: MOST_HELD - len(self._held)]
            return
        self._said_any = self._said_any or has_words
        self._out.append(text)


def may_be_in_mark(character: str, bracket: str, *, first: bool) -> bool:
    """Whether a mark may continue with this character."""
    if bracket not in ANGLES:
        return character.isalpha() or character == "/" or (not first and character in "_ -")
    if first:
        return character.isalpha() or character in "0/|\uff5c:@#! \n"
    return character.isalnum() or character in "|\uff5c\n _-:/\u2581.=\"'@#!&+,"


def is_thought(name: str) -> bool:
    """Whether it names reasoning and nothing else."""
    words = [word for word in WORDS.findall(name.lower()) if word not in ENDS | {"begin", "start", "of"}]
    return bool(words) and all(SQUARE.match(word) for word in words)
