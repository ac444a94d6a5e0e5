"""The log: one chain for ours and theirs, for people or as JSON, and no secret in it."""

import ast
import asyncio
import errno
import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog
from pydantic import SecretStr

from discordplex import logs
from discordplex.errors import EngineError

TOKEN = "MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcdE.abcdefghijklmnopqrstuvwxyzABCDEF"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave logging as the other tests expect it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    secrets, words = set(logs._secrets), set(logs._words)
    yield
    logs._secrets.intersection_update(secrets)
    logs._words.intersection_update(words)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_pipe_gets_json() -> None:
    """Where no person reads, every event is one JSON object with level, time and fields."""
    stream = io.StringIO()
    logs.set_up(stream=stream)
    structlog.get_logger().info("call began", guild=3, text="größe")
    (event,) = lines(stream)
    assert event.pop("timestamp").endswith("Z")
    assert event == {"event": "call began", "level": "info", "guild": 3, "text": "größe"}


def test_a_terminal_gets_lines_for_people() -> None:
    """On a terminal an event is a line, coloured unless NO_COLOR is set."""
    stream = Terminal()
    logs.set_up(stream=stream)
    structlog.get_logger().info("call began", guild=3)
    assert "call began" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(
    ("environ", "expected"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_colours_obey_the_environment(environ: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter
    """NO_COLOR with any value and a dumb terminal mean no colours."""
    monkeypatch.setattr("sys.platform", "linux")
    assert logs.coloured(Terminal(), environ) is expected


def test_no_colours_in_a_file() -> None:
    """Lines for people that were asked for in a file carry no escape codes."""
    stream = io.StringIO()
    logs.set_up("rich", stream=stream)
    structlog.get_logger().warning("call began", guild=3)
    assert "\x1b" not in stream.getvalue()
    assert "guild=3" in stream.getvalue()


def test_the_level_is_obeyed() -> None:
    """Nothing below the level is written."""
    stream = io.StringIO()
    logs.set_up(level="warning", stream=stream)
    structlog.get_logger().info("too quiet")
    assert stream.getvalue() == ""


def test_libraries_go_through_the_same_chain_from_warnings_on() -> None:
    """py-cord's warnings come as our events, its chatter does not, whatever our level."""
    stream = io.StringIO()
    logs.set_up(level="debug", stream=stream)
    logging.getLogger("discord.gateway").info("Sending %s", TOKEN)
    logging.getLogger("discord.gateway").warning("Bad token %s", TOKEN)
    (event,) = lines(stream)
    assert (event["event"], event["level"], event["library"]) == ("Bad token ***", "warning", "discord.gateway")


def test_secrets_are_masked_everywhere() -> None:
    """A secret shows up neither in an event, a field, a nested field, an object nor a traceback."""
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logs.keep_secret(SecretStr("hunter22"))
    log = structlog.get_logger()
    log.info("hunter22", field="hunter22", nested={"hunter22": [("hunter22",)]}, path=Path("/hunter22"), token=TOKEN)
    try:
        int("hunter22")
    except ValueError as fault:
        log.exception("it failed", error=fault)
        logging.getLogger("aiohttp").exception("theirs")
    assert "hunter22" not in stream.getvalue()
    assert TOKEN not in stream.getvalue()
    assert len(lines(stream)) == 3
    assert lines(stream)[1]["error"] == "ValueError"


def test_short_secrets_do_not_mask_words() -> None:
    """A secret of few letters is no reason to spoil the log."""
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logs.keep_secret(SecretStr("a"))
    logs.keep_secret(None)
    structlog.get_logger().info("a call")
    assert lines(stream)[0]["event"] == "a call"


def test_setting_up_twice_does_not_double_lines() -> None:
    """Only the newest set-up writes."""
    first, second = io.StringIO(), io.StringIO()
    logs.set_up(stream=first)
    logs.set_up(stream=second)
    logging.getLogger("websockets").warning("once")
    assert (first.getvalue(), len(lines(second))) == ("", 1)


PEER = "the weather in Ghent is fine"
"""What a server may write into its error, or a person may have said."""


class ServerError(Exception):
    """As an SDK's: its message quotes the server, and so does its text."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    def __str__(self) -> str:
        return f"Error code: 400 - {self.args[0]}"


def chained() -> BaseException:
    def fail() -> None:
        try:
            {"": 0}[PEER]
        except KeyError as cause:
            raise ServerError(PEER) from cause

    return raised_by(fail)


def in_context() -> BaseException:
    def fail() -> None:
        try:
            {"": 0}[PEER]
        except KeyError:
            int(PEER)

    return raised_by(fail)


def raised_by(fail: Callable[[], None]) -> BaseException:
    with pytest.raises(Exception, match=PEER) as caught:
        fail()
    fault: object = caught.value
    assert isinstance(fault, BaseException)
    return fault


def reraise(fault: BaseException) -> None:
    raise fault


def grouped() -> BaseException:
    async def fail_twice() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asyncio.to_thread, int, PEER)
            tasks.start_soon(asyncio.to_thread, reraise, chained())

    try:
        asyncio.run(fail_twice())
    except BaseException as fault:  # noqa: BLE001 -- a group
        return fault
    raise AssertionError


@pytest.mark.parametrize("log_format", ["rich", "json"])
@pytest.mark.parametrize("make", [chained, in_context, grouped])
def test_no_message_of_an_exception_is_logged(make: Callable[[], BaseException], log_format: logs.LogFormat) -> None:
    """Ours, a library's, as a value, as a traceback, chained or grouped: its kind and place stay, a server's words do not."""
    stream = io.StringIO()
    logs.set_up(log_format, stream=stream)
    fault, log = make(), structlog.get_logger()
    log.error("it failed", exc_info=fault)
    log.error("it failed", error=fault, several=[fault])
    try:
        reraise(fault)
    except BaseException:
        log.exception("it failed")
        logging.getLogger("discord.client").exception("Attempting a reconnect in %.2fs", 1.5)
    logging.getLogger("asyncio").error("\n".join(["Task exception was never retrieved", repr(fault)]), exc_info=fault)
    written = stream.getvalue()
    assert PEER not in written
    assert type(fault).__name__ in written
    assert "test_logs.py" in written
    assert "Attempting a reconnect in 1.50s" in written


def test_an_exception_says_its_code_and_its_chain() -> None:
    """What a maintainer needs of it: kinds, the operating system's code, our own causes, in the order in which they came."""
    text = "".join(logs.outline(chained(), set()))
    assert text.index("KeyError") < text.index("which led to") < text.index("ServerError")
    assert logs.kind_of(OSError(24, PEER)) == "OSError (EMFILE)"
    assert logs.kind_of(EngineError("A sentence.", cause="HTTP 500")) == "discordplex.errors.EngineError (HTTP 500)"
    circle = ValueError("a")
    circle.__cause__ = circle
    assert "".join(logs.outline(circle, set())) == "ValueError\n"


@pytest.mark.parametrize(
    ("message", "arguments", "kept"),
    [
        ("Can not load response cookies: %s", (PEER,), "Can not load response cookies: ***"),
        ("Shard %s is behind by %.1fs", (3, 2.25), "Shard 3 is behind by 2.2s"),
        ("Unknown OP code %d", (PEER,), "Unknown OP code %d"),
        ("query %(query)r, limit %(limit)d", ({"query": PEER, "limit": 5},), "query '***', limit 5"),
        ("first line\n" + PEER, (), "first line"),
    ],
)
def test_of_a_library_s_line_its_own_words_and_numbers_are_kept(message: str, arguments: tuple[Any, ...], kept: str) -> None:
    """What it filled in came from outside."""
    record = logging.LogRecord("discord", logging.WARNING, __file__, 1, message, arguments, None)
    assert logs.own_words(record) == kept


def test_a_process_without_descriptors_says_so_once_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asyncio logs a traceback for each of a hundred tries to accept a connection, and tries again every second."""
    stream = io.StringIO()
    logs.set_up("json", stream=stream)
    loop, now = asyncio.new_event_loop(), 1000.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now * 1e9))
    for _ in range(12):
        for _ in range(100):
            loop.call_exception_handler({"message": logs.CANNOT_ACCEPT, "exception": OSError(24, PEER), "socket": PEER})
        now += 1
    loop.call_exception_handler({"message": "something else", "exception": OSError(24, PEER)})
    loop.close()
    *lines, other = map(json.loads, stream.getvalue().splitlines())
    assert [(line["event"], "exception" in line) for line in lines] == [(logs.NO_CONNECTIONS, False)] * 2
    assert (other["event"], "exception" in other) == ("something else", True)


HOSTILE = 'Ann\n{"event": "forged"}\r\n\x1b[31mred\x85\u2028\u2029\u202eback\x00'


@pytest.mark.parametrize("log_format", ["rich", "json"])
def test_no_value_can_forge_a_line(log_format: logs.LogFormat) -> None:
    """A name with line breaks, colours or reversed text is one line of plain characters, wherever it stands."""
    stream = io.StringIO()
    logs.set_up(log_format, stream=stream)
    log = structlog.get_logger()
    log.info("joined", name=HOSTILE, nested={HOSTILE: [HOSTILE]})
    log.info(HOSTILE)
    logging.getLogger("aiohttp").warning(HOSTILE)
    assert len(stream.getvalue().splitlines()) == 3
    assert not set(stream.getvalue()) & set("\x1b\x85\u2028\u2029\u202e\x00\r")


def test_a_short_secret_is_masked_where_it_stands_alone() -> None:
    """In the middle of a word it is a part of that word."""
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logs.keep_secret(SecretStr("pass5"))
    structlog.get_logger().info("key pass5, compass58")
    assert lines(stream)[0]["event"] == "key ***, compass58"


def test_a_value_has_a_length() -> None:
    """However much somebody puts into it."""
    stream = io.StringIO()
    logs.set_up(stream=stream)
    structlog.get_logger().info("x", value="a b" * 100_000)
    assert len(stream.getvalue()) < 2 * logs.LONGEST_VALUE


# The package's own calls

PACKAGE = Path(logs.__file__).parent

SENTENCES = {"reason", "detail", "why", "message", "text", "sentence", "fault", "said", "words", "body", "content", "response", "prompt"}
"""Names of arguments that say: a sentence follows."""

TELLING = {"reason", "sentence", "told", "message", "text", "args", "strerror", "body", "content", "detail", "says"}
"""Attributes that hold sentences."""

OUR_OWN = {"StoreError"}
"""Exceptions whose sentences are all written in `store/reasons.py` and its neighbours: no driver's text is in them (`tests/store`)."""

ALLOWED = {("bot/application.py", "advice")}
"""Made of our own words and the operator's own settings alone (`login.cause_of`)."""


def log_calls() -> Iterator[tuple[str, ast.Call, set[str]]]:
    """Every call of a logger in the package, with the names that hold an exception of OUR_OWN there."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        ours: dict[int, set[str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name) and node.type.id in OUR_OWN and node.name:
                for inner in ast.walk(node):
                    ours.setdefault(id(inner), set()).add(node.name)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                owner = node.func.value
                if isinstance(owner, ast.Name) and owner.id in ("log", "logger", "_log"):
                    yield path.relative_to(PACKAGE).as_posix(), node, ours.get(id(node), set())


METHODS = {"debug", "info", "warning", "error", "exception", "critical", "msg", "log"}


def complaints(place: str, call: ast.Call, ours: set[str]) -> Iterator[str]:
    """What is wrong with a log call."""
    where = f"{place}:{call.lineno}"
    if len(call.args) != 1 or not isinstance(call.args[0], ast.Constant):
        yield f"{where}: an event is one constant text, and everything else a keyword"
    for keyword in call.keywords:
        name, value = keyword.arg, keyword.value
        if name is None or name == "exc_info" or (place, name) in ALLOWED or isinstance(value, ast.Compare):
            continue
        own_sentence = name in ("why", "cause") and ast.unparse(value) in {f"str({fault})" for fault in ours}
        if name in SENTENCES and not own_sentence:
            yield f"{where}: {name}= carries a sentence; log a cause code"
        for node in ast.walk(value):
            if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Attribute) and node.attr in TELLING):
                yield f"{where}: {name}= is made of a text"
            turned = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr", "format")
            if turned and not own_sentence and (name, ast.unparse(node)) not in {("command", "str(command)"), ("name", "str(name)")}:
                yield f"{where}: {name}= turns something into text"


def test_no_log_call_of_ours_carries_a_sentence() -> None:
    """A server's words, a person's words and a transcript travel in sentences; a log has codes, ids, counts and durations."""
    calls = list(log_calls())
    assert len(calls) > 50
    assert [complaint for call in calls for complaint in complaints(*call)] == []


class Broken(io.StringIO):
    """A stream that takes nothing while it has a fault."""

    fault: OSError | ValueError | None = None

    def write(self, text: str) -> int:
        if self.fault:
            raise self.fault
        return super().write(text)

    def flush(self) -> None:
        if self.fault:
            raise self.fault


@pytest.mark.parametrize("log_format", ["json", "rich"])
@pytest.mark.parametrize(
    "fault", [OSError(errno.ENOSPC, "No space left on device"), BrokenPipeError(), ValueError("I/O operation on closed file")]
)
def test_a_line_that_cannot_be_written_stops_nobody(
    fault: OSError | ValueError, log_format: logs.LogFormat, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full, or whoever reads the log has gone: that line is lost, whoever logs goes on, and later lines are written again."""
    stream = Broken()
    logs.set_up(log_format, stream=stream)
    stream.fault = fault
    structlog.get_logger().warning("lost")
    logging.getLogger("discord.client").error("lost too")
    stream.fault = None
    structlog.get_logger().warning("kept")
    assert "kept" in stream.getvalue()
    assert "lost" not in stream.getvalue()
    assert capsys.readouterr().err == ""
