"""What people read."""

from dataclasses import replace

import pytest

from discordplex.bot import texts
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.engine import Persona

PERSONA = Persona("NATF0.pt", "You are a *wise* and friendly teacher. " * 20)


def test_hello_says_who_listens_to_whom_and_where_it_goes() -> None:
    """The first sentence says who listens, where it goes, that nothing is kept; markup in a role is harmless; the code can be read out."""
    nothing = RecordingPolicy(engine="PersonaPlex, run by *Ann*", transcribes=False)
    about = texts.calls.Introduction(5, PERSONA, nothing, people=["Ada"], privacy_code="123456789012345678901234567890")
    assert "`12345 67890 12345 67890 12345 67890`" in texts.calls.listening(about)
    for text in (texts.calls.hello(about), texts.calls.listening(about)):
        first = text.partition(". ")[0]
        assert all(part in first for part in ("listening in <#5>", r"PersonaPlex, run by \*Ann\*", "nothing of it is kept"))
        assert "listening in <#5>" in text
        assert "**NATF0.pt**" in text
        assert r"You are a \*wise\* and friendly teacher." in text
        assert "I came for Ada." in text
        assert len(text) < 500
    kept = texts.calls.listening(texts.calls.Introduction(5, PERSONA, RecordingPolicy(engine="gpu", transcribes=True, kept=True)))
    assert "a transcript is kept" in kept
    assert "nothing" not in kept
    summed_up = texts.calls.use_of_speech(replace(nothing, recap_by="a chat model (*gpt*)"))
    assert r"is summed up for the engine by a chat model (\*gpt\*)" in summed_up
    assert "summed up" not in kept


@pytest.mark.parametrize(
    "text",
    [
        texts.calls.engine_lost("The engine is *gone*"),
        texts.calls.engine_back("The engine is *gone*"),
        texts.calls.gave_up("The engine is *gone*"),
        texts.calls.could_not_join(5, "The engine is *gone*"),
        texts.calls.left_because(5, "The engine is *gone*"),
        texts.calls.trouble("The engine is *gone*"),
        texts.calls.sent_away("*gone*"),
        texts.calls.stopped("*gone*").removesuffix(" until `/listen`.") + ".",
        texts.calls.goes_on("*gone*"),
    ],
)
def test_what_comes_from_outside_is_harmless(text: str) -> None:
    """A sentence of another room, or a person's name, styles nothing and ends like a sentence."""
    assert r"\*gone\*" in text
    assert text.endswith(".")
    assert ".." not in text


def test_status_fits_the_situation() -> None:
    """In a call, waiting, idle: three different things are worth knowing."""
    call = texts.calls.CallStatus(channel_id=5, phase="listening", engine="gpu", persona=PERSONA, minutes=3)
    busy = texts.calls.Status(call=call, calls=1, capacity=1, queue_length=1, own_places=[(6, 1)], auto_join=True)
    assert texts.calls.status(busy).splitlines() == [
        "In <#5>: listening, for 3 min, with the voice **NATF0.pt** on gpu.",
        "Engines: 1 of 1 in use, 1 waiting.",
        "<#6> is number 1 in the queue.",
    ]
    idle = texts.calls.Status(call=None, calls=0, capacity=1, queue_length=0, own_places=[], auto_join=False, refused="Bad voice.")
    assert texts.calls.status(idle).splitlines() == [
        "I am not in a call in this server.",
        "Engines: 0 of 1 in use, 0 waiting.",
        "Enter a voice channel and use `/join`.",
        "Bad voice.",
    ]


def test_who_is_not_heard_is_named_as_discord_shows_names() -> None:
    """A person is shown by Discord itself, without being called; a stream that nobody has named is somebody."""
    ada = 220_000_002_000 << 22
    assert f"<@{ada}>" in texts.calls.cannot_hear(ada, "so")
    assert f"<@{ada}>" in texts.calls.hears_again(ada)
    assert "hear somebody:" in texts.calls.cannot_hear(1004, "so")


def test_names_are_read_as_names() -> None:
    """A few are listed and the rest counted; markup, line breaks and what turns lines round are harmless, and nobody is called."""
    assert texts.calls.listed(["Ada"]) == "Ada"
    assert texts.calls.listed(["Ada", "Ben"]) == "Ada and Ben"
    assert texts.calls.listed(["Ada", "Ben", "Cyd", "Dee", "Eve"]) == "Ada, Ben, Cyd and 2 more"
    assert texts.calls.listed(["<@5>\n*x*\u202e"]) == r"\<@5> \*x\*"
    assert texts.calls.stopped("Ada\nBen").startswith("Ada Ben asked")


@pytest.mark.parametrize(("seconds", "words"), [(0, "0 s"), (59, "59 s"), (59.6, "1 min"), (180, "3 min"), (3 * 3600, "180 min")])
def test_a_calls_length_is_said(seconds: float, words: str) -> None:
    """In seconds below a minute, else in minutes."""
    assert texts.calls.ended(seconds).startswith(f"The call has ended after {words}. ")


@pytest.mark.parametrize(
    "address",
    ["ws://gpu.example:8998/api/chat", "https://10.0.0.7/v1", "gpu.example:8998", "localhost:8998", "[fd00::7]:8998", "192.168.1.5"],
)
def test_no_address_is_posted(address: str) -> None:
    """Whatever an engine says about its server: people read what happened, not where."""
    text = texts.calls.trouble(f"No server answers at {address} (connection refused), after 12:30 h and 3.5 tries.")
    assert text == r"No server answers at \[address] (connection refused), after 12:30 h and 3.5 tries."
