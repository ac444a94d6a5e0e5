"""Where settings come from: the command line, the environment, `.env`, a folder of secrets and TOML, each read into one shape.

A source becomes `{dotted key: Given}`; `Given` knows its source, so that an error can name it. Nothing here knows the keys.
"""

import difflib
import json
import os
import re
import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv.parser import parse_stream
from pydantic_settings import BaseSettings, TomlConfigSettingsSource

from discordplex.errors import ConfigError
from discordplex.plaintext import one_line, trimmed

PREFIX = "DISCORDPLEX_"
"""The prefix of our environment variables."""

LEVELS = "__"
"""Replaces the dot of a key in an environment variable."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

MOST_SECRET_BYTES = 1 << 16
"""The largest file of a folder of secrets. No setting is longer."""

LONGEST_NAME = 200
"""Characters of a key in a sentence about it."""

QUOTES = {'"': '"', "'": "'", "`": "`", "\u201c": "\u201d", "\u2018": "\u2019"}
"""Quotes that people and tools put around a value, with the closing one."""

APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=\w)")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was given, with its name and source."""

    value: Any = field(repr=False)
    name: str
    place: str

    def __str__(self) -> str:
        return f"{one_line(self.name, LONGEST_NAME)} {self.place}"


def from_toml(path: Path, settings: type[BaseSettings], whole: Container[str] = ()) -> dict[str, Given]:
    """Every key of a TOML file, those in `whole` with their table as the value.

    Raises ConfigError with a sentence where it is unreadable.
    """
    try:
        path.open("rb").close()  # the next line skips what is not a file
        leaves = list(flatten(TomlConfigSettingsSource(settings, path).toml_data, whole))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except ValueError as fault:
        if path.read_bytes().startswith(BYTE_ORDER_MARK):
            raise ConfigError(f"{path} begins with a byte order mark; save it as UTF-8 without one.") from None
        raise ConfigError(f"{path} is not valid TOML: {decapitalise(str(fault))}.") from None
    except RecursionError:
        raise ConfigError(f"{path} has tables or lists nested too deep to be settings.") from None
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror or fault}.") from None
    return {key: Given(value, key, f"in {path}") for key, value in leaves}


def from_dotenv(path: Path) -> dict[str, Given]:
    """Every `DISCORDPLEX_` variable of a `.env` file; empty where there is no file. Values are taken literally."""
    if not os.path.lexists(path):
        return {}
    try:
        with path.open(encoding="utf-8-sig") as stream:
            bindings = list(parse_stream(stream))
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except OSError as fault:
        raise ConfigError(f"{path} cannot be read: {fault.strerror or fault}.") from None
    for binding in bindings:
        if binding.error and PREFIX in binding.original.string:
            raise ConfigError(f"{path}, line {binding.original.line}: this is not NAME=VALUE.")
    return from_environ({binding.key: binding.value or "" for binding in bindings if binding.key}, place=f"in {path}")


def from_environ(environ: Mapping[str, str], place: str = "in the environment") -> dict[str, Given]:
    """Every `DISCORDPLEX_` variable, without quotes around its value; an empty one counts as not set, since compose files pass those."""
    found = {}
    for name, value in environ.items():
        if name.upper().startswith(PREFIX) and (bare := unquoted(value)):
            found[key_of(name)] = Given(bare, name, place)
    return found


def from_secrets(folder: Path, known: Container[str]) -> dict[str, Given]:
    """The settings of a folder with one file for each: its name is the key, its content the value without the line break at its end.

    That is how Docker, Kubernetes and systemd hand over secrets. Files with a name that is not in `known` are not read; they get an
    empty value. Raises ConfigError with a sentence where the folder or a file of it cannot be used.
    """
    found: dict[str, Given] = {}
    for file in files_of(folder):
        key = key_of_file(file.name)
        if file.is_dir():
            raise ConfigError(
                f"{file} is a folder, and secrets_dir has only files, one for each setting: remove it, or name another folder."
            )
        if key in found:
            raise ConfigError(f"Two files in {folder} set {key}: remove {file.name} or the other one.")
        found[key] = Given(secret_in(file) if key in known else "", key, f"in {one_line(str(file), LONGEST_NAME)}")
    return found


def files_of(folder: Path) -> list[Path]:
    """What a folder of secrets has in it, without hidden names: Kubernetes keeps its own links there. Raises ConfigError."""
    try:
        return sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except FileNotFoundError:
        raise ConfigError(f"secrets_dir names the folder {folder}, which does not exist: create it, or name another one.") from None
    except NotADirectoryError:
        raise ConfigError(f"secrets_dir names {folder}, which is not a folder: name the folder that the files of secrets are in.") from None
    except OSError as fault:
        raise ConfigError(f"secrets_dir names the folder {folder}, which cannot be read: {fault.strerror or fault}.") from None


def key_of_file(name: str) -> str:
    """`discord.token` of a file with that name, or of `discord__token`, or of the variable's name, in any case.

    systemd puts the name of the folder's credential and an underscore before each name, which looks like the variable's prefix.
    """
    return name.lower().removeprefix(PREFIX.lower()).replace(LEVELS, ".")


def secret_in(file: Path) -> str:
    """The text of a file without line breaks at its end, which editors and `echo` add. Raises ConfigError with a sentence."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise ConfigError(f"{file} is not a file: put one with the value in its place, or remove it.")
        with file.open("rb") as stream:
            content = stream.read(MOST_SECRET_BYTES + 1)
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text; save it as UTF-8.") from None
    except PermissionError:
        raise ConfigError(f"{file} cannot be read by the user that runs discordplex: change the owner of the file.") from None
    except OSError as fault:
        raise ConfigError(f"{file} cannot be read: {fault.strerror or fault}.") from None
    if len(content) > MOST_SECRET_BYTES:
        raise ConfigError(f"{file} is larger than {MOST_SECRET_BYTES >> 10} KiB, which no setting is: put nothing but the value into it.")
    if not text.strip():
        raise ConfigError(f"{file} is empty: put the value into it, or remove it.")
    return text


def unquoted(value: str) -> str:
    """The value without surrounding white space and quotes: Docker's env files and Windows' `set` keep quotes that were meant for a shell.

    Quotes that are part of a text are kept: `"Hi" and "bye"` begins and ends with one as well.
    """
    text = trimmed(value)
    while len(text) >= len('""') and QUOTES.get(text[0]) == text[-1]:
        inner = trimmed(text[1:-1])
        core = APOSTROPHE.sub("", inner).strip("".join({*QUOTES, *QUOTES.values()}))
        if inner[:1] not in ("[", "{") and (text[0] in core or text[-1] in core):
            break
        text = inner
    return text


def from_overrides(overrides: Mapping[str, Any]) -> dict[str, Given]:
    """The values of the command line, by dotted key."""
    return {key: Given(value, key, "on the command line") for key, value in overrides.items()}


def key_of(variable: str) -> str:
    """`discord.token` of `DISCORDPLEX_DISCORD__TOKEN`."""
    return variable[len(PREFIX) :].lower().replace(LEVELS, ".")


def variable_of(key: str) -> str:
    """`DISCORDPLEX_DISCORD__TOKEN` of `discord.token`."""
    return PREFIX + key.upper().replace(".", LEVELS)


def flatten(tables: Mapping[str, Any], whole: Container[str] = (), prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested tables, except that tables in `whole` stay whole; an empty table has none."""
    for name, value in tables.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in whole:
            yield from flatten(value, whole, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables of dotted keys: the inverse of `flatten`."""
    tables: dict[str, Any] = {}
    for key, value in values.items():
        *path, name = key.split(".")
        table = tables
        for step in path:
            table = table.setdefault(step, {})
        table[name] = value
    return tables


def unknown(given: Given, key: str, known: Iterable[str]) -> str:
    """The sentence about an unknown key: its source, and the most similar known key."""
    known = sorted(known)
    near = nearest(key, known)
    if near is None:
        section = key.partition(".")[0]
        in_section = [name for name in known if name.startswith(f"{section}.")]
        where = f"the settings of {section}" if in_section else "the settings"
        return f"{given} is not a setting; {where} are {', '.join(in_section or known)}."
    shown = variable_of(near) if given.name.upper().startswith(PREFIX) else near
    return f"{given} is not a setting; did you mean {shown}?"


def nearest(key: str, known: Iterable[str]) -> str | None:
    """The known key most similar to `key`, as a whole or by its last part; None where none is similar."""
    by_plain = {plain(name): name for name in known}
    close = difflib.get_close_matches(plain(key), by_plain, n=1, cutoff=0.7)
    if close:
        return by_plain[close[0]]
    by_last = {plain(name.rpartition(".")[2]): name for name in known}
    for last in (plain(key.rpartition(".")[2]), plain(key)):
        close = difflib.get_close_matches(last, by_last, n=1, cutoff=0.7)
        if close:
            return by_last[close[0]]
    return None


def plain(name: str) -> str:
    """A name without what people confuse: case, dots, dashes, underscores."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def list_of(given: Given) -> Any:
    """The JSON list in a variable's text; where there is none, the text itself, which no list setting accepts."""
    return json_of(given, list)


def table_of(given: Given) -> Any:
    """The JSON object in a variable's text; where there is none, the text itself, which no table setting accepts."""
    return json_of(given, dict)


def json_of(given: Given, kind: type) -> Any:
    """The JSON value in a text, where it is of the wanted kind; else the text itself."""
    try:
        value = json.loads(given.value)
    except (ValueError, RecursionError):
        return given.value
    return value if isinstance(value, kind) else given.value


def decapitalise(sentence: str) -> str:
    """A sentence as the second half of another."""
    return sentence[:1].lower() + sentence[1:].rstrip(".")
