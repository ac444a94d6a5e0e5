"""What a person can type is documented: every verb and option, every slash command, every setting."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from discordplex import cli
from discordplex.config.settings import KEYS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
EXAMPLE = ROOT / "config.example.toml"


def verbs(parser: argparse.ArgumentParser, prefix: str = "discordplex") -> Iterator[str]:
    """Every command as it is typed, those with actions by their actions."""
    for action in parser._actions:  # argparse names its parts to nobody else
        if isinstance(action, argparse._SubParsersAction):
            for name, one in action.choices.items():
                below = list(verbs(one, f"{prefix} {name}"))
                yield from below or [f"{prefix} {name}"]


def slash_commands() -> Iterator[str]:
    """Every slash command that the bot registers, by its name."""
    for path in sorted((ROOT / "discordplex" / "bot" / "commands").glob("*.py")):
        for name in re.findall(r"(?:slash_command\(\s*name=|create_group\(\s*)\"([a-z]+)\"", path.read_text(encoding="utf-8")):
            yield f"/{name}"


def words(path: Path) -> str:
    """A document's text, `config show|check` (escaped as in a table) written out as one command after the other."""
    text = path.read_text(encoding="utf-8").replace("\\|", "|")
    return re.sub(r"(discordplex config) (\w+(?:\|\w+)+)", lambda found: " ".join(f"{found[1]} {one}" for one in found[2].split("|")), text)


def test_there_is_something_to_document() -> None:
    """The lists that the other tests go through are not empty by mistake."""
    assert {"discordplex run", "discordplex demo", "discordplex config init"} <= set(verbs(cli.make_parser()))
    assert {"/join", "/leave", "/status", "/persona", "/settings"} <= set(slash_commands())
    assert {"discord.token", "personaplex.urls"} <= set(KEYS)


def test_every_verb_is_in_the_readme() -> None:
    """Whoever reads the README learns every command."""
    missing = [verb for verb in verbs(cli.make_parser()) if verb not in words(README)]
    assert not missing, f"README.md does not mention: {', '.join(missing)}"


def test_every_slash_command_is_in_the_readme() -> None:
    """Whoever reads the README learns what to type in Discord."""
    missing = [name for name in slash_commands() if not re.search(rf"{name}\b", words(README))]
    assert not missing, f"README.md does not mention: {', '.join(missing)}"


def test_every_setting_is_in_the_example() -> None:
    """Each key stands in the example under its table, with a comment of its own."""
    missing = [key for key in KEYS if not documented(key, words(EXAMPLE))]
    assert not missing, f"config.example.toml does not document: {', '.join(missing)}"


def documented(key: str, example: str) -> bool:
    """Whether a key (or, commented out, one without a default) follows a comment in its table."""
    table, _, name = key.rpartition(".")
    heading = rf"^\[{re.escape(table)}\]\n" if table else r"\A"
    text = re.search(rf"{heading}(.*?)(?=^\[|\Z)", example, re.MULTILINE | re.DOTALL)
    return bool(text and re.search(rf"^# .+\n(?:# )?{name} = ", text[1], re.MULTILINE))


def test_the_readme_names_where_settings_come_from() -> None:
    """The example file, the environment's prefix and the way to see what is in force."""
    missing = [
        word for word in ("config.example.toml", "DISCORDPLEX_DISCORD__TOKEN", "discordplex config show") if word not in words(README)
    ]
    assert not missing, f"README.md does not mention: {', '.join(missing)}"


PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "benchmarks" / "README.md"]


def test_every_file_that_the_docs_name_is_there() -> None:
    """Paths of ours exist, names given as "`name` in `path`" are in that file, and links lead to a file and a heading."""
    wrong = [f"{page.name}: {target}" for page in PAGES for target in broken(page)]
    assert not wrong


def broken(page: Path) -> Iterator[str]:
    """What a page names and is not there."""
    text = page.read_text(encoding="utf-8")
    yield from (
        path for path in re.findall(r"`((?:discordplex|tests|docs|benchmarks|\.github)/[\w./-]+)`", text) if not (ROOT / path).exists()
    )
    for name, path in re.findall(r"`(\w+)` (?:in|of) `([\w/]+\.py)`", text):
        if not re.search(rf"(?:def |class |^){name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE):
            yield f"{name} in {path}"
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        target = page if not path else page.parent / path
        if "://" not in link and not (target.exists() and (not heading or heading in headings(target))):
            yield link


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}
