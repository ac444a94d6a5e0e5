"""Imports go down only; this file is the picture in `discordplex/__init__.py` made law."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "discordplex"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    ["errors", "redact", "plaintext", "stopping", "budget"],
    ["config_checks", "config_sources"],
    ["config", "metrics", "clock", "logs", "pycord", "network"],
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
]
"""From the ground up. A room may import the rooms below it and itself, never one beside or above it."""

LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

WALLS = {
    "bridge": {"voice", "personaplex", "cascade"},
    "bot": {"personaplex", "cascade"},
}
"""Rooms below that are closed all the same: a call knows the engine port, and Discord meets engines through their provider."""

PURE = [
    "voice.gateway",
    "voice.messages",
    "voice.events",
    "voice.closing",
    "voice.rtp",
    "voice.transport",
    "voice.reorder",
    "personaplex.protocol",
    "personaplex.connection",
    "personaplex.budget",
    "budget",
    "cascade.bargein",
    "cascade.chunker",
    "cascade.faults",
    "cascade.history",
    "cascade.playback",
    "cascade.reply",
    "cascade.segmenter",
    "cascade.sound",
    "cascade.speakable",
    "cascade.stage",
    "audio",
    "bridge.retry",
    "bridge.budget",
    "bridge.captions",
    "bridge.metronome",
    "bridge.events",
    "bot.autojoin",
    "bot.access",
    "bot.courtesy",
    "bot.estimate",
    "bot.patience",
    "bot.replies",
    "bot.replies_calls",
    "bot.replies_personas",
    "bot.replies_privacy",
    "bot.replies_settings",
    "bot.sessions",
    "plaintext",
    "bot.text",
    "bot.timebox",
]
"""State and bytes only: no loop, no socket, no thread."""

MAY_IMPORT_DISCORD = {"audio.sink", "audio.source", "voice.client"}

LOOPBACK_MAY_USE = {
    "voice.rtp",
    "voice.transport",
    "voice.gateway",
    "voice.messages",
    "voice.events",
    "voice.reorder",
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


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path: Path) -> None:
    """No module imports a room beside or above its own, nor one behind a wall."""
    room = name_of(path).split(".")[0]
    for target in own_imports_of(path) if room else ():
        other = target.split(".")[0]
        if other in (room, "__version__"):
            continue
        assert LEVEL[other] < LEVEL[room], f"{room} imports {target}, which is not below it"
        assert other not in WALLS.get(room, set()), f"{room} imports {target}, which is behind a wall"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_discord_is_named_in_few_places(path: Path) -> None:
    """py-cord is imported where the library's own interfaces are met, and nowhere else."""
    if any(name.split(".")[0] == "discord" for name in imports_of(path)):
        module = name_of(path)
        assert module in MAY_IMPORT_DISCORD or module.split(".")[0] == "bot", f"{module} imports discord"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_pure_modules_are_pure(path: Path) -> None:
    """A pure module imports no asyncio, no socket and no threads."""
    module = name_of(path)
    if any(module == pure or module.startswith(pure + ".") for pure in PURE):
        impure = {name.split(".")[0] for name in imports_of(path)} & {"asyncio", "anyio", "socket", "websockets", "aiohttp"}
        assert not impure, f"{module} imports {impure}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_loopback_shares_only_pure_modules(path: Path) -> None:
    """What the loopback takes from the wires is proven elsewhere against byte vectors."""
    if name_of(path).split(".")[0] != "loopback":
        return
    for target in own_imports_of(path):
        if target.split(".")[0] in ("voice", "personaplex", "bridge", "bot", "cascade"):
            assert target in LOOPBACK_MAY_USE, f"{name_of(path)} imports {target}"
