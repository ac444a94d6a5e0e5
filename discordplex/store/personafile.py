"""Personas as a file that people exchange. Pure: text to personas, and back."""

import json
from collections.abc import Sequence
from typing import Any

from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.plaintext import one_line, visible
from discordplex.store.records import Owner, SavedPersona

FORMAT = "discordplex personas"
VERSION = 1

FILE_BYTES = 1_000_000
"""The largest file: enough for a hundred personas with prompts of ten thousand letters."""

MOST_PERSONAS = 100
"""The most personas in a file, and of one owner."""

PROMPT_CHARACTERS = 10_000
VOICE_CHARACTERS = 200

NUMBER_DIGITS = 18
"""The longest number in a file. Python 3.10 needs seconds to read a number of a million digits."""

NAME_CHARACTERS = 100
"""The longest name that Discord shows in a list of choices."""


def write(personas: Sequence[SavedPersona]) -> str:
    """The personas as a JSON file, without their owners."""
    entries = [{"name": one.name, "voice": one.persona.voice, "text_prompt": one.persona.text_prompt} for one in personas]
    return json.dumps({"format": FORMAT, "version": VERSION, "personas": entries}, indent=2, ensure_ascii=False) + "\n"


def read(content: bytes, owner: Owner) -> tuple[SavedPersona, ...]:
    """The personas of a file, with `owner` as their owner; raises StoreError with a sentence for people if the file is not valid."""
    if len(content) > FILE_BYTES:
        raise refusal(f"it is larger than {FILE_BYTES // 1_000_000} MB")
    try:
        file = json.loads(content.decode("utf-8-sig"), parse_int=number)
    except (ValueError, RecursionError):
        raise refusal("it is not JSON") from None
    if not isinstance(file, dict) or file.get("format") != FORMAT or not isinstance(file.get("personas"), list):
        raise refusal("it was not made by discordplex")
    if file.get("version") != VERSION:
        raise refusal("it was made by a newer discordplex")
    if len(file["personas"]) > MOST_PERSONAS:
        raise refusal(f"it has more than {MOST_PERSONAS} personas")
    return tuple(entry(one, owner) for one in file["personas"])


def number(digits: str) -> int:
    """A whole number of a file; raises ValueError if it is too long."""
    if len(digits) > NUMBER_DIGITS:
        raise ValueError(len(digits))
    return int(digits)


def entry(fields: Any, owner: Owner) -> SavedPersona:
    """One persona of a file."""
    name, voice, text_prompt = (text(fields, key) for key in ("name", "voice", "text_prompt"))
    name, voice, text_prompt = (
        one_line(name),
        one_line(voice),
        visible(text_prompt),
    )  # nothing in it is hidden from the person who imports it
    if not 1 <= len(name) <= NAME_CHARACTERS:
        raise refusal(f"a persona's name must have 1 to {NAME_CHARACTERS} characters")
    if not voice or not text_prompt.strip():
        raise refusal("a persona has an empty voice or role")
    if len(text_prompt) > PROMPT_CHARACTERS or len(voice) > VOICE_CHARACTERS:
        raise refusal(f"a persona's role may have {PROMPT_CHARACTERS} characters, and its voice {VOICE_CHARACTERS}")
    return SavedPersona(owner, name, Persona(voice=voice, text_prompt=text_prompt))


def text(fields: Any, key: str) -> str:
    """One text of a persona."""
    value = fields.get(key) if isinstance(fields, dict) else None
    if isinstance(value, str) and is_storable(value):
        return value
    raise refusal(f"a persona has no {key}, or one with characters that are no text")


def is_storable(text: str) -> bool:
    """Whether every database accepts the text: no NUL (PostgreSQL refuses it) and no half of a surrogate pair (UTF-8 refuses it)."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def refusal(why: str) -> StoreError:
    """The sentence about a file that cannot be read."""
    return StoreError(f"This file of personas cannot be read: {why}.")
