"""A reply is cut into pieces that can be spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discordplex.cascade import chunker as module
from discordplex.cascade.chunker import FIRST_CHUNK_CHARACTERS, LONGEST_CHUNK_CHARACTERS, LOOK_AHEAD, Chunker


def chunks_of(text: str, size: int = 1) -> list[str]:
    chunker = Chunker()
    found = [chunk for start in range(0, len(text), size) for chunk in chunker.feed(text[start : start + size])]
    return [*found, *chunker.finish()]


@pytest.mark.parametrize(
    ("reply", "chunks"),
    [
        ("Hello there! How are you? Fine.", ["Hello there!", "How are you?", "Fine."]),
        ("Well, it depends. Yes.", ["Well, it depends.", "Yes."]),
        ("I would say, it depends.", ["I would say,", "it depends."]),
        ("Right away. Dr. Who pays 3.50 e.g. for tea. Ok.", ["Right away.", "Dr. Who pays 3.50 e.g. for tea.", "Ok."]),
        ("Sure. Do this: 1. Wash it. 2. Dry it.", ["Sure.", "Do this: 1. Wash it.", "2. Dry it."]),
        ("Wait... what?! Really.", ["Wait...", "what?!", "Really."]),
        ('He said "no." Then left.', ['He said "no."', "Then left."]),
        ("One line\nand another\n", ["One line", "and another"]),
        ("好的。我们走吧！", ["好的。", "我们走吧！"]),
        ("The quick brown fox jumps over it.", ["The quick brown", "fox jumps over it."]),
        ("Well, let me tell you a long story.", ["Well, let me tell", "you a long story."]),
        ("The result of 5 * 3 is 15, I think, but ask.", ["The result of", "5 * 3 is 15, I think, but ask."]),
        ("", []),
        (" - ", []),
    ],
)
def test_pieces_end_where_a_speaker_would_pause(reply: str, chunks: list[str]) -> None:
    """The first piece comes early, the others are sentences."""
    assert chunks_of(reply) == chunks


@given(st.text(alphabet="abc ,.!?\n1é。", max_size=600), st.integers(1, 40))
def test_every_letter_is_spoken_once_and_no_piece_is_too_long(reply: str, size: int) -> None:
    """However a reply arrives, its letters come out in order, and each piece within its bound."""
    chunks = chunks_of(reply, size)
    letters = [character for character in reply if character.isalnum()]
    assert [character for chunk in chunks for character in chunk if character.isalnum()] == letters
    assert all(len(chunk) <= LONGEST_CHUNK_CHARACTERS for chunk in chunks)
    assert not chunks or len(chunks[0]) <= FIRST_CHUNK_CHARACTERS


def test_the_first_piece_does_not_wait_for_the_sentence() -> None:
    """A word boundary is enough once three quarters of the bound are there; a word that may not be whole waits."""
    chunker = Chunker()
    assert list(chunker.feed("This sentence goes on and")) == ["This sentence goes on"]
    chunker = Chunker()
    assert list(chunker.feed("This sentence goes")) == []
    assert list(chunker.feed(" on")) == ["This sentence goes"]
    assert list(Chunker().feed("Donaudampfschifffahrts")) == []


SENTENCES = {
    "Hindi": ["मैं ठीक हूँ।", "आप कैसे हैं?", "यह बहुत अच्छा है॥"],
    "Urdu": ["میں ٹھیک ہوں\u06d4", "آپ کیسے ہیں؟", "بہت اچھا!"],
    "Arabic": ["أنا بخير.", "كيف حالك؟", "هذا جيد!"],
    "Amharic": ["ደህና ነኝ።", "እንዴት ነህ፧", "ጥሩ ነው።"],
    "Armenian": ["Ես լավ եմ\u0589", "Դու ինչպես ես\u0589", "Լավ է\u0589"],
    "Khmer": ["ខ្ញុំសុខសប្បាយ។", "អ្នកសុខសប្បាយទេ?", "ល្អណាស់៕"],
    "Burmese": ["ကျွန်တော် နေကောင်းပါတယ်။", "ခင်ဗျား နေကောင်းလား။", "ကောင်းပါတယ်။"],
    "Tibetan": ["ང་བདེ་པོ་ཡིན།", "ཁྱེད་རང་སྐུ་གཟུགས་བདེ་པོ་ཡིན་པས།", "ཡག་པོ་འདུག།"],
    "Greek": ["Είμαι καλά.", "Εσύ πώς είσαι\u037e", "Ωραία!"],
    "Bengali": ["আমি ভালো আছি।", "তুমি কেমন আছো?", "খুব ভালো।"],
    "Santali": ["ᱤᱧ ᱵᱮᱥ ᱜᱮ᱾", "ᱟᱢ ᱪᱮᱫ ᱞᱮᱠᱟ᱾", "ᱵᱮᱥ ᱜᱮ᱿"],
    "Javanese": ["ꦏꦸꦭ ꦱꦲꦺ꧉", "ꦱꦩ꧀ꦥꦺꦪꦤ꧀꧉", "ꦱꦲꦺ꧉"],
    "Japanese": ["元気です。", "お元気ですか？", "いいですね！"],
}


@pytest.mark.parametrize("sentences", SENTENCES.values(), ids=SENTENCES)
@pytest.mark.parametrize("between", [" ", "  ", "\n"])
def test_a_piece_ends_with_each_sentence_in_any_script(sentences: list[str], between: str) -> None:
    """Every character with Unicode's property Sentence_Terminal ends one."""
    chunker = Chunker(first_characters=100)
    text = between.join(sentences)
    assert [*(chunk for character in text for chunk in chunker.feed(character)), *chunker.finish()] == sentences


def test_where_words_are_written_together_no_space_is_waited_for() -> None:
    """A danda or a Chinese full stop ends a sentence at once; an Urdu full stop within an abbreviation ends none."""
    assert chunks_of("好。很好！मैं।आप।") == ["好。", "很好！", "मैं।", "आप।"]
    assert chunks_of("پی\u06d4ڈی ہے\u06d4 ٹھیک") == ["پی\u06d4ڈی ہے\u06d4", "ٹھیک"]


HOSTILE = [
    unit * (10_000 // len(unit))
    for unit in (".", "Dr. ", "1. ", "a.", "!", "!?", ' "', "x", " ", "\n", "- ", ", ", "a, ", ",", "\u0964", '."', "a b ", "5 * ", "* ")
]


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize("text", HOSTILE, ids=[repr(text[:4]) for text in HOSTILE])
def test_the_work_is_bounded_for_each_character(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a server writes and however it cuts it, little is kept, and each character is searched a bounded number of times."""
    looked_at = 0

    def counting(name: str) -> None:
        search = getattr(module, name)

        def counted(given: str, *arguments: int) -> object:
            nonlocal looked_at
            looked_at += len(given) - (arguments[0] if name == "sentence_end" and arguments else 0)
            return search(given, *arguments)

        monkeypatch.setattr(module, name, counted)

    for name in ("sentence_end", "first_clause_end", "last_break", "last_space"):
        counting(name)
    chunker, pieces = Chunker(), []
    for start in range(0, len(text), size):
        pieces += list(chunker.feed(text[start : start + size]))
        assert chunker.kept <= LONGEST_CHUNK_CHARACTERS + LOOK_AHEAD
    pieces += list(chunker.finish())
    assert all(len(piece) <= LONGEST_CHUNK_CHARACTERS for piece in pieces)
    assert looked_at <= 100 * len(text)
