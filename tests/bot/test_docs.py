"""The manual knows every sentence that the bot may say."""

import re
from pathlib import Path

import pytest

from discordplex.bot import courtesy, replies
from discordplex.bot.estimate import Estimate

DOCS = Path(__file__).parents[2] / "docs"
MANUAL = " ".join((DOCS / "troubleshooting.md").read_text(encoding="utf-8").split())

CONSTANTS = {
    name: value for module in (replies, courtesy) for name, value in vars(module).items() if name.isupper() and isinstance(value, str)
}
PERMISSIONS = replies.MISSING_PERMISSION

PARTS = [
    replies.engine_lost(""),
    replies.engine_back(""),
    replies.engine_moved("", ""),
    replies.gave_up(""),
    replies.sent_away(""),
    courtesy.waiting(1, None),
    courtesy.wait(Estimate(60, at_most=True)),
    courtesy.wait(Estimate(60, at_most=False)),
    courtesy.time_is_short(60),
    courtesy.idle(10),
    courtesy.busy(2),
    courtesy.in_queue(5, 2, None),
    courtesy.captions_in(5),
    replies.elsewhere(5),
    replies.full(5),
    replies.could_not_join(5, ""),
    replies.already_here(5),
    replies.discord_unreachable("here", "so"),
]


def first_words(sentence: str) -> list[str]:
    """The fixed parts of a sentence's beginning: up to the first stop, without what differs each time."""
    beginning = re.split(r"(?<=\w)[.;:,]| \(", sentence.strip(" ."))[0]
    return [part.strip(" :.") for part in re.split(r"<#\d+>|here", beginning) if part.strip(" :.")]


@pytest.mark.parametrize("sentence", [*CONSTANTS.values(), *PERMISSIONS.values(), *PARTS])
def test_every_sentence_is_explained(sentence: str) -> None:
    """Its first words stand in docs/troubleshooting.md."""
    for words in first_words(sentence):
        assert words in MANUAL, f"docs/troubleshooting.md does not know: {words}"


def test_every_command_is_explained() -> None:
    """The three commands stand in docs/using.md."""
    using = (DOCS / "using.md").read_text(encoding="utf-8")
    assert all(f"`/{name}`" in using for name in ("join", "leave", "status"))
