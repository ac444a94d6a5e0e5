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
        [
            "errors",
            "redact",
            "plaintext",
            "stopping",
            "retry",
            "token_bucket",
            "bounded",
            "descriptors",
            "heap",
            "tasks",
            "installing",
            "sharding",
        ],
        ["websocket", "systemd", "tracing"],
        ["config", "metrics", "clock", "fifo", "cancellable", "logs", "pycord", "network"],
        ["audio", "services", "overview"],
        ["engine"],
        ["engine_slots", "queue_order"],
        ["hearing", "engine_choice"],
        ["voice", "personaplex", "realtime", "cascade"],
        ["bridge", "store"],
        ["cluster"],
        ["bot", "monitoring"],
        ["loopback"],
        ["demo", "doctor"],
        ["app"],
        ["verbs"],
        ["cli"],
        ["__main__"],
    ],
    "bot": [
        ["place", "guild_rules", "cooldowns", "rate_limits"],
        ["rights", "recording_policy"],
        ["texts"],
        ["shards", "chat", "settings"],
        ["call"],
        ["scheduling", "commands"],
        ["client"],
        ["connections"],
        ["shared_shards"],
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
    "bridge": {"voice", "personaplex", "realtime", "cascade", "hearing", "services"},
    "bot": {"personaplex", "realtime", "cascade", "hearing", "services"},
}
"""Rooms below that are closed all the same: a call knows the engine port, and Discord meets engines through their provider."""

IMPURE = {"asyncio", "anyio", "concurrent", "multiprocessing", "socket", "ssl", "threading", "aiohttp", "httpx", "websockets"}
"""What a pure module does not import: no event loop, no socket, no thread."""

MAY_IMPORT_DISCORD = {"audio.sink", "voice.connection"}

CLOSED_TO_LOOPBACK = ("voice", "personaplex", "realtime", "bridge", "bot", "cascade", "hearing", "services")

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


TESTS = Path(__file__).parent

TESTED_IN = {
    "__main__": "test_cli.py",
    "app": "test_cli.py",
    "audio.libopus": "audio/test_opus.py",
    "audio.oggheaders": "audio/test_oggopus.py",
    "audio.sphncodec": "audio/test_oggopus.py",
    "bot.call.captions": "bot/call/test_transcripts.py",
    "bot.call.interface": "bot/scheduling/test_dispatcher.py",
    "bot.call.state": "bot/call/test_conversation.py",
    "bot.call.joining": "bot/test_stage.py",
    "bot.commands.base": "bot/test_rights.py",
    "bot.commands.prefix": "bot/test_rights.py",
    "bot.commands.register": "bot/test_docs.py",
    "bot.commands.views": "bot/commands/test_reply.py",
    "bot.login": "bot/test_application.py",
    "bot.recording_policy": "bot/call/test_disclosure.py",
    "bot.guild_rules": "bot/scheduling/test_dispatcher.py",
    "bot.scheduling.running": "bot/scheduling/test_dispatcher.py",
    "bot.texts": "bot/commands",
    "bridge.engine_conversation": "bridge/test_handover.py",
    "cancellable": "hearing/test_ears.py",
    "cascade.dialogue": "cascade/test_engine.py",
    "cascade.speak": "cascade/test_services.py",
    "cascade.think": "cascade/test_services.py",
    "cascade.turn": "cascade/test_engine.py",
    "cluster.queue": "cluster/test_cluster.py",
    "cluster.rows": "cluster/test_cluster.py",
    "cluster.slots": "cluster/test_cluster.py",
    "cluster.snapshot": "cluster/test_cluster.py",
    "config": "config/test_settings.py",
    "demo.canvas": "demo/test_timeline.py",
    "demo.clip": "demo/test_command.py",
    "doctor.finding": "doctor/test_report.py",
    "errors": "store/test_database.py",
    "hearing.transcriber": "cascade/test_services.py",
    "loopback": "loopback",
    "overview": "monitoring/test_readiness.py",
    "personaplex.budget": "personaplex/test_hostile_server.py",
    "personaplex.dialing": "personaplex/test_client.py",
    "personaplex.endings": "personaplex/test_connection.py",
    "queue_order": "bot/scheduling/test_registry.py",
    "realtime.client": "realtime/test_engine.py",
    "realtime.endings": "realtime/test_protocol.py",
    "services.clients": "cascade/test_services.py",
    "services.faults": "cascade/test_services.py",
    "services.models": "cascade/test_models.py",
    "services.response": "cascade/test_budgets.py",
    "services.service": "cascade/test_services.py",
    "services.sse": "cascade/test_shapes.py",
    "sharding": "bot/test_shards.py",
    "store.backends": "store/test_database.py",
    "store.migrations": "store/test_schema.py",
    "store.tables": "store/test_schema.py",
    "store.upgrade": "store/test_schema.py",
    "verbs": "test_cli.py",
    "voice.dave.group": "voice/dave/test_session.py",
    "voice.rtp.stream": "voice/rtp/test_receiver.py",
}
"""Modules, and rooms, that have no test file of their name: they are parts of something that is tested there as a whole."""


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
        if target.split(".")[0] in CLOSED_TO_LOOPBACK and is_file(target)
    }
    assert used <= LOOPBACK_MAY_USE


def test_no_cancellation_is_lost() -> None:
    """`asyncio.wait_for` swallows one that comes as its work ends, before Python 3.12; the package has `tasks.wait_for` instead."""
    assert [name_of(path) for path in MODULES if "asyncio.wait_for(" in path.read_text(encoding="utf-8")] == ["loopback.timeouts"]


def test_a_class_name_means_one_thing() -> None:
    """No two classes of the package have the same name, wherever they are."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_every_module_is_tested() -> None:
    """Each module that does something has a test file of its name, or a line that says where it is tested."""
    without = {name_of(path) for path in MODULES if path.name != "__init__.py" and does_something(path) and not own_test(path).is_file()}
    listed = {module: [key for key in TESTED_IN if module == key or module.startswith(key + ".")] for module in without}
    assert not [module for module, keys in listed.items() if not keys], "write their tests, or say where they are tested"
    assert TESTED_IN.keys() == {key for keys in listed.values() for key in keys}, "some have a test file of their name by now"
    assert not [file for file in TESTED_IN.values() if not TESTS.joinpath(file).exists()]


def own_test(path: Path) -> Path:
    inside = path.relative_to(PACKAGE)
    return TESTS / inside.parent / f"test_{inside.name}"


def does_something(path: Path) -> bool:
    """Whether there is a function with more in it than words: the others declare types and constants."""
    functions = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, FUNCTIONS))
    return any(not isinstance(line, ast.Expr) or not isinstance(line.value, ast.Constant) for one in functions for line in one.body)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
