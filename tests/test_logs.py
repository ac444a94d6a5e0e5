"""The log: one chain for ours and theirs, for people or as JSON, and no secret in it."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from discordplex import logs

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
    yield
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
    assert lines(stream)[1]["error"].endswith("'***'")


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
