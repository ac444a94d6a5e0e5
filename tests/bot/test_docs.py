"""The manual knows every sentence that the bot may say."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import discord
import pytest

from discordplex.bot import texts
from discordplex.bot.commands.base import CommandServices
from discordplex.bot.commands.register import add_commands
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bot.texts.waiting import Estimate
from discordplex.engine import Persona
from discordplex.store.records import SaveStatus

DOCS = Path(__file__).parents[2] / "docs"
BOT = Path(__file__).parents[2] / "discordplex" / "bot"
MANUAL = " ".join((DOCS / "troubleshooting.md").read_text(encoding="utf-8").split())

SENTENCES = (texts.calls, texts.waiting, texts.personas, texts.privacy, texts.settings, texts.notes)
CONSTANTS = {
    (module.__name__, name): value
    for module in SENTENCES
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
}
PERMISSIONS = texts.calls.MISSING_PERMISSION

PERSONA = Persona("NATF0.pt", "You are a test.")

PARTS = [
    texts.calls.engine_lost(""),
    texts.calls.engine_back(""),
    texts.calls.engine_moved(""),
    texts.calls.gave_up(""),
    texts.calls.sent_away("").removeprefix(texts.waiting.SOMEBODY),
    texts.calls.cannot_hear(0, ""),
    texts.calls.hears_again(0),
    texts.waiting.too_often(1),
    texts.waiting.moved_often(1),
    texts.waiting.waiting(1, None),
    texts.waiting.wait(Estimate(60, at_most=True)),
    texts.waiting.wait(Estimate(60, at_most=False)),
    texts.waiting.time_is_short(60),
    texts.waiting.idle(10),
    texts.waiting.minutes_are_short(0.8, 30),
    texts.waiting.minutes_used_up(30, 0),
    texts.waiting.busy(2),
    texts.waiting.in_queue(5, 2, None),
    texts.waiting.captions_in(5),
    texts.calls.elsewhere(5),
    texts.calls.stopped("").removeprefix(texts.waiting.SOMEBODY).strip(),
    texts.calls.goes_on("").removeprefix(texts.waiting.SOMEBODY).strip(),
    texts.calls.changing(PERSONA).partition(" the voice")[0],
    texts.calls.changed(PERSONA).partition(" the voice")[0],
    texts.personas.no_persona("").partition(" “")[0],
    texts.personas.bad_name(100),
    texts.personas.refused("", "").partition(" ")[2].partition("“” ")[2],
    texts.personas.imported([]),
    texts.personas.file_too_large(1),
    texts.privacy.to_be_forgotten(SaveStatus(saved=False)),
    texts.calls.with_save_status("", SaveStatus(saved=False)).strip(),
    texts.calls.full(5),
    texts.calls.could_not_join(5, ""),
    texts.calls.left_because(5, ""),
    texts.calls.already_here(5),
    texts.calls.discord_unreachable("here", "so"),
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


async def test_every_command_is_explained() -> None:
    """Each slash command that the bot registers, by its whole name, has a line in docs/using.md; so have its written twins."""
    using = (DOCS / "using.md").read_text(encoding="utf-8")
    bot = discord.Bot()  # type: ignore[no-untyped-call] # py-cord does not annotate it
    add_commands(bot, cast("CommandServices", None))
    names = [name for command in bot.pending_application_commands for name in names_of(command)]
    assert {"join", "persona set", "settings captions", "privacy"} <= set(names)
    missing = [name for name in names if f"| `/{name}` |" not in using]
    assert not missing, f"docs/using.md does not explain: {', '.join(missing)}"
    assert all(f"`!{name}`" in using for name in ("join", "listen", "stop", "leave"))


def names_of(command: Any) -> Iterator[str]:
    """A command's whole name, or those of all commands in a group."""
    below = getattr(command, "subcommands", [])
    yield from (name for one in below for name in names_of(one)) if below else [command.qualified_name]


def test_every_command_says_what_it_does() -> None:
    """In words of its own, within the hundred characters that Discord takes."""
    for path in (BOT / "commands").glob("*.py"):
        for found in re.findall(r'description="([^"]*)"', path.read_text(encoding="utf-8")):
            assert 10 <= len(found) <= 100 or found in ("On or off.", "Its voice.", "The file.", "Which one."), found


@pytest.mark.parametrize(
    ("who", "published", "kept"), [*itertools.product(["nobody", "the engine", "the ears"], [False, True], [False, True])]
)
def test_the_privacy_page_says_what_the_notice_says(*, who: str, published: bool, kept: bool) -> None:
    """For every engine and setting, the very words."""
    rules = GuildRules(captions_of_people=published, transcripts=kept)
    ears = "a transcription service (whisper-1)" if who == "the ears" else ""
    policy = RecordingPolicy.of(rules, engine="", transcribes=who == "the engine", captions_in=5, ears=ears)
    settings = f"| {who} | {'on' if published else 'off'} | {'on' if kept else 'off'} |"
    assert f"{settings} … {texts.calls.use_of_speech(policy, 5)}. |" in (DOCS / "privacy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("summarizer", ["", "a chat model (gpt-6-luna)"])
def test_the_privacy_page_says_what_the_notice_says_about_notes(summarizer: str) -> None:
    """With and without a chat model, the very words."""
    rules = GuildRules(transcripts=True, notes=True)
    policy = RecordingPolicy.of(rules, engine="", transcribes=True, captions_in=5, summarizer=summarizer)
    said = texts.calls.after_the_call(policy)
    assert f"“{said.removeprefix('; ')}”" in (DOCS / "privacy.md").read_text(encoding="utf-8")
    assert texts.calls.use_of_speech(policy, 5).endswith(said)
    summed_up = RecordingPolicy.of(rules, engine="", transcribes=True, captions_in=5, recap="a chat model (gpt-6-luna)")
    words = "is summed up for the engine by a chat model (gpt-6-luna)"
    assert f"“{words}”" in (DOCS / "privacy.md").read_text(encoding="utf-8")
    assert words in texts.calls.use_of_speech(summed_up, 5)


def test_privacy_is_told() -> None:
    """What can be stored, and each way to look at it, to delete it and not to be heard, stands in docs/privacy.md."""
    told = (DOCS / "privacy.md").read_text(encoding="utf-8")
    for words in (
        texts.privacy.DONT_LISTEN,
        texts.privacy.LISTEN_AGAIN,
        "`/privacy`",
        "`/settings transcripts`",
        "`/notes`",
        texts.notes.DELETE,
        "privacy code",
        "`/stop`",
    ):
        assert words in told
