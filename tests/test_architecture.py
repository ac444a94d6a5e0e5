"""Imports go down only: the picture in `discordplex/__init__.py` made law, room by room and inside the large rooms."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "discordplex"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = {
    "": [
        ["errors", "redact", "plaintext", "stopping", "retry", "token_bucket", "bounded"],
        ["config", "metrics", "clock", "fifo", "logs", "pycord", "network"],
        ["audio"],
        ["engine"],
        ["voice", "personaplex", "cascade"],
        ["bridge", "store"],
        ["bot"],
        ["loopback"],
        ["demo", "doctor"],
        ["app"],
        ["verbs"],
        ["cli"],
        ["__main__"],
    ],
    "bot": [
        ["place", "rules", "cooldowns", "rate_limits"],
        ["access", "practice"],
        ["texts"],
        ["chat", "settings"],
        ["call"],
        ["scheduling", "commands"],
        ["client"],
        ["login"],
        ["application"],
    ],
    "voice": [
        ["gateway", "close_codes", "connection_info", "events", "deafness", "members"],
        ["dave", "reconnect"],
        ["rtp"],
        ["session"],
        ["watchdog"],
        ["connection"],
    ],
    "loopback.discord": [
        ["world", "certificate"],
        ["gateway", "voice"],
        ["rest", "person"],
        ["acts"],
        ["server"],
        ["serve"],
    ],
}
"""Each room with its parts, from the ground up. A part may import those below it and itself, never one beside or above it."""

WALLS = {
    "bridge": {"voice", "personaplex", "cascade"},
    "bot": {"personaplex", "cascade"},
}
"""Rooms below that are closed all the same: a call knows the engine port, and Discord meets engines through their provider."""

IMPURE = {"asyncio", "anyio", "concurrent", "multiprocessing", "socket", "ssl", "threading", "aiohttp", "httpx", "websockets"}
"""What a pure module does not import: no event loop, no socket, no thread."""

MAY_IMPORT_DISCORD = {"audio.sink", "audio.source", "voice.connection"}

LOOPBACK_MAY_USE = {
    "voice.rtp.packet",
    "voice.rtp.encryption",
    "voice.rtp.reorder",
    "voice.gateway.protocol",
    "voice.gateway.messages",
    "voice.gateway.events",
    "personaplex.protocol",
    "personaplex.endpoint",
}
"""Pure modules, proven against byte vectors, so that one misreading of a protocol cannot agree with itself."""


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports_of(path: Path) -> Iterator[str]:
    for name in imports_of(path):
        target = name.removeprefix("discordplex.")
        if name.startswith("discordplex.") and (is_module(target) or not is_module(target.rpartition(".")[0])):
            yield target


def is_module(name: str) -> bool:
    path = PACKAGE.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def part_of(module: str, room: str) -> str:
    """The part of a room that a module is in; empty for one outside and for the room's own `__init__`."""
    if room and not module.startswith(room + "."):
        return ""
    return module[len(room) + 1 if room else 0 :].split(".", maxsplit=1)[0]


@pytest.mark.parametrize("room", LAYERS)
def test_every_part_has_its_place(room: str) -> None:
    """A new file or folder gets a line in the picture, and the picture names nothing that is not there."""
    shown = [part for layer in LAYERS[room] for part in layer]
    there = {part for path in MODULES if (part := part_of(name_of(path), room))}
    assert sorted(shown) == sorted(there)


@pytest.mark.parametrize("room", LAYERS)
def test_imports_go_down_only(room: str) -> None:
    """No module imports a part beside or above its own."""
    level = {part: level for level, parts in enumerate(LAYERS[room]) for part in parts}
    wrong = [
        f"{name_of(path)} imports {target}, which is not below it"
        for path in MODULES
        if (part := part_of(name_of(path), room))
        for target in own_imports_of(path)
        if (other := part_of(target, room)) not in ("", part, "__version__") and level[other] >= level[part]
    ]
    assert not wrong


def test_walls_are_closed() -> None:
    """Some rooms below are closed all the same."""
    wrong = [
        f"{name_of(path)} imports {target}, which is behind a wall"
        for path in MODULES
        for target in own_imports_of(path)
        if target.split(".")[0] in WALLS.get(name_of(path).split(".")[0], ())
    ]
    assert not wrong


def test_no_circles() -> None:
    """No module imports itself by way of others."""
    graph = {
        name_of(path): {target for target in own_imports_of(path) if is_file(target)} for path in MODULES if path.name != "__init__.py"
    }
    assert list(TopologicalSorter(graph).static_order())


def is_file(name: str) -> bool:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py").is_file()


@pytest.mark.parametrize("path", [path for path in MODULES if path.name == "__init__.py"], ids=name_of)
def test_every_room_says_what_it_is(path: Path) -> None:
    """The door of a room says what the room is."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} says nothing"


def test_discord_is_named_in_few_places() -> None:
    """py-cord is imported where the library's own interfaces are met, and nowhere else."""
    named = {name_of(path) for path in MODULES if any(name.split(".")[0] == "discord" for name in imports_of(path))}
    assert {module for module in named if module.split(".")[0] != "bot"} == MAY_IMPORT_DISCORD


def test_pure_modules_are_pure() -> None:
    """A module whose docstring says that it is pure imports no event loop, no socket and no thread."""
    pure = [path for path in MODULES if re.search(r"\bPure\b", ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")]
    assert len(pure) > 50
    assert not {name_of(path): found for path in pure if (found := {name.split(".")[0] for name in imports_of(path)} & IMPURE)}


def test_the_loopback_shares_only_pure_modules() -> None:
    """What the loopback takes from the wires is proven elsewhere against byte vectors."""
    used = {
        target
        for path in MODULES
        if name_of(path).split(".")[0] == "loopback"
        for target in own_imports_of(path)
        if target.split(".")[0] in ("voice", "personaplex", "bridge", "bot", "cascade") and is_file(target)
    }
    assert used <= LOOPBACK_MAY_USE


def test_a_class_name_means_one_thing() -> None:
    """No two classes of the package have the same name, wherever they are."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}
