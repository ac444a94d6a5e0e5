"""The picture of a call."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from discordplex.demo.canvas import drawable, shortened, text_width, wrapped
from discordplex.demo.recording import ResponseTime, paired
from discordplex.demo.timeline import BOT, HANDED_OVER, PERSON, WIDTH, Picture, TimelineEntry, clock_face, draw

Voice = Callable[[Sequence[tuple[float, float]], float], bytes]


def picture(person: bytes, bot: bytes, lines: Sequence[TimelineEntry] = (), **more: Any) -> Picture:
    standard: dict[str, Any] = {"answers": [], "facts": [("0", "frames lost")]}
    return Picture(
        title="A call", subtitle="parrot", person="Ada", bot="Plex", recording=paired(person, bot), lines=lines, **{**standard, **more}
    )


def columns_with(image: Image.Image, colour: tuple[int, int, int]) -> set[int]:
    """In which columns, right of the names, a colour is found."""
    pixels = image.load()
    assert pixels is not None
    return {x for x in range(260, image.width) for y in range(0, image.height, 2) if pixels[x, y] == colour}


def test_each_voice_stands_where_it_spoke(voice: Voice) -> None:
    """The person's bars fill the first half of the time, the bot's the second."""
    image = draw(picture(voice([(0, 5)], 10.0), voice([(5, 10)], 10.0)))
    middle = (48 + 190 + WIDTH - 48) / 2
    person, bot = columns_with(image, PERSON), columns_with(image, BOT)
    assert min(person) < 275 < middle - 10 < max(person) <= middle + 10
    assert middle - 10 <= min(bot) < middle + 10 < WIDTH - 60 < max(bot)


def test_more_words_make_a_higher_picture(voice: Voice) -> None:
    """Bubbles and notices get the room that they need, and no more."""
    said = voice([(1, 2)], 10.0)
    bare = draw(picture(said, said))
    worded = draw(picture(said, said, [TimelineEntry("person", "Ada", 1.0, "Hello."), TimelineEntry("notice", "Plex", 0.5, "Plex enters")]))
    assert bare.width == worded.width == WIDTH
    assert worded.height > bare.height


def test_a_hand_over_is_marked_where_it_was(voice: Voice) -> None:
    """A line across the bot's lane; without any, its colour is nowhere."""
    said = voice([(1, 2)], 10.0)
    assert not columns_with(draw(picture(said, said)), HANDED_OVER)
    columns = columns_with(draw(picture(said, said, handovers=[5.0])), HANDED_OVER)
    middle = (48 + 190 + WIDTH - 48) / 2
    assert any(abs(column - middle) < 6 for column in columns)
    assert all(abs(column - middle) < 60 for column in columns)


@pytest.mark.parametrize("seconds", [0.0, 0.4, 7.0, 90.0, 300.0])
def test_any_length_can_be_drawn(voice: Voice, seconds: float) -> None:
    """From nothing at all to a long call."""
    pcm = voice([], seconds)
    lines = [TimelineEntry("bot", "Plex", seconds / 10 * number, "word " * 60) for number in range(12)]
    notices = [TimelineEntry("notice", "Plex", seconds, "x" * 400), TimelineEntry("notice", "Plex", 0.0, "x" * 400)]
    answers = [ResponseTime(seconds / 2, seconds / 2 + 0.7), ResponseTime(0.0, 0.0), ResponseTime(seconds, seconds)]
    assert draw(picture(pcm, b"", [*lines, *notices], answers=answers)).width == WIDTH


def test_text_is_wrapped_to_its_room() -> None:
    """No line is wider than its room, and what does not fit ends in dots."""
    lines = wrapped("one two three four five six seven eight nine ten eleven twelve", 19, 120, 3)
    assert len(lines) == 3
    assert all(text_width(line, 19) <= 120 for line in lines)
    assert lines[-1].endswith("...")
    assert wrapped("", 19, 120, 3) == []
    assert shortened("incomprehensibilities", 19, 60).endswith("...")


def test_what_the_font_lacks_is_left_out() -> None:
    """Emoji of a notice do not become boxes."""
    assert drawable("🎙️ Go ahead, später · 5 %") == " Go ahead, spater · 5 %"


@pytest.mark.parametrize(("seconds", "face"), [(0, "0 s"), (0.5, "0.5 s"), (59, "59 s"), (60, "1:00"), (125, "2:05"), (3661, "61:01")])
def test_time_reads_well(seconds: float, face: str) -> None:
    """Seconds first, minutes and seconds from a minute on."""
    assert clock_face(seconds) == face
