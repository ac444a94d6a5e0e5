"""Signals set a flag, and whoever runs looks at it; whole processes are told to end at each stage of their start."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from discordplex.loopback import timeouts
from discordplex.stopping import SIGNALS, Stop


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """SIGHUP as a terminal leaves it, also where these tests themselves run under nohup."""
    hangup = getattr(signal, "SIGHUP", None)
    before = signal.signal(hangup, signal.SIG_DFL) if hangup else None
    yield
    if hangup:
        signal.signal(hangup, before)


UNANSWERED = '''
"""A name server that never answers; SIGTERM comes while it is asked."""
import os, signal, socket, threading


def ask(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait()


socket.getaddrinfo = ask
from discordplex import __main__

raise SystemExit(__main__.main())
'''

PROGRAM = '''
"""Send this process SIGTERM when a module is imported at its start; `~` stands for a destructor, in which exceptions are thrown away.

And once more while the interpreter shuts down.
"""
import atexit, os, signal, sys

stage, sys.argv[1:] = sys.argv[1], sys.argv[2:]


def now():
    os.kill(os.getpid(), signal.SIGTERM)


class Dying:
    def __del__(self):
        now()


class At:
    done = False

    def find_spec(self, name, path, target=None):
        if name == stage.removesuffix("~") and not At.done:
            At.done = True
            atexit.register(now)
            Dying() if stage.endswith("~") else now()


from discordplex import __main__

sys.meta_path.insert(0, At())
sys.exit(__main__.main())
'''

FORKING = '''
"""Starts whose modules are imported once for all; each is a process of its own that gets SIGTERM when a function is called."""
import importlib, json, os, signal, sys

from discordplex import __main__


def before_call(owner, name):
    called = getattr(owner, name)

    def told(*arguments, **named):
        os.kill(os.getpid(), signal.SIGTERM)
        return called(*arguments, **named)

    setattr(owner, name, told)


def place(function):
    module, _, attribute = function.partition(":")
    owner = importlib.import_module(module)
    *path, name = attribute.split(".")
    for part in path:
        owner = getattr(owner, part)
    return owner, name


starts = [(arguments, place(function)) for arguments, function in json.load(sys.stdin)]
codes = []
for number, (arguments, (owner, name)) in enumerate(starts):
    child = os.fork()
    if child == 0:
        os.mkdir(str(number))
        os.chdir(str(number))
        before_call(owner, name)
        sys.argv[1:] = arguments
        sys.exit(__main__.main())
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(codes))
'''

RUN = ("run", "--set", "discord.api_url=https://127.0.0.1:9/v10", "--set", "discord.token=MTIz.abc.def")
STANDIN = ("standin", "--port", "0")
LOOPBACK = ("loopback", "--dir", "there")
DEMO = ("demo", "--seconds", "60")

IMPORTS = [
    (RUN, "argparse", 0),
    (RUN, "discordplex.config.settings", 0),
    (RUN, "discordplex.config.settings~", 0),
    (RUN, "discord", 0),
    (RUN, "pydantic_core._pydantic_core", 0),
    (STANDIN, "argparse~", 0),
    (LOOPBACK, "argparse~", 0),
    (DEMO, "discordplex.demo.command", 1),
]

CALLS = [
    (RUN, "discordplex.app:run", 0),
    (RUN, "discordplex.app:open_store", 0),
    (RUN, "discordplex.store.schema:bring_up_to_date", 0),
    (RUN, "discordplex.bot.settings.preferences:StoredPreferences.load", 0),
    (RUN, "discordplex.bot.application:Login", 0),
    (RUN, "discordplex.bot.login:ask", 0),
    (STANDIN, "discordplex.loopback.personaplex.serve:serve", 0),
    (LOOPBACK, "discordplex.loopback.discord.serve:serve", 0),
    (DEMO, "discordplex.demo.command:play", 1),
]


def process(folder: Path, program: str, *arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("DISCORDPLEX_")}
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, check=False, cwd=folder, env=clean, input=given, capture_output=True, text=True, timeout=50)  # noqa: S603 - our own interpreter


@pytest.mark.skipif(sys.platform == "win32", reason="there one process cannot send another SIGTERM")
@pytest.mark.parametrize(("arguments", "module", "code"), IMPORTS, ids=[f"{arguments[0]} {module}" for arguments, module, _ in IMPORTS])
def test_sigterm_while_a_module_is_imported(tmp_path: Path, arguments: tuple[str, ...], module: str, code: int) -> None:
    """Each verb ends as promised, wherever in its start it is told to; being told again at its very end changes nothing."""
    done = process(tmp_path, PROGRAM, module, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there one process cannot send another SIGTERM, nor fork")
def test_sigterm_before_a_function_is_called(tmp_path: Path) -> None:
    """The same for the stages behind the imports."""
    done = process(tmp_path, FORKING, given=json.dumps([call[:2] for call in CALLS]))
    assert json.loads(done.stdout.splitlines()[-1]) == [code for *_, code in CALLS], done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there one process cannot send another SIGTERM")
def test_a_lookup_that_hangs_keeps_no_process(tmp_path: Path) -> None:
    """The name of Discord's server is asked for in a thread that nothing can end: the process ends without it."""
    done = process(
        tmp_path, UNANSWERED, "run", "--set", "discord.api_url=https://nowhere.example/v10", "--set", "discord.token=MTIz.abc.def"
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_seen_whenever_one_looks(number: int) -> None:
    """Before, while and after somebody waits for it; the first one is kept, another one changes nothing."""
    stop, called = Stop(), []
    stop.check()
    with stop.watching():
        with stop.calling(lambda: called.append("before")):
            signal.raise_signal(number)
        with stop.calling(lambda: called.append("after")):
            pass
        signal.raise_signal(signal.SIGTERM)
    assert (stop.signal, called) == (number, ["before", "after"])
    with pytest.raises(KeyboardInterrupt):
        stop.check()


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_nohup_is_obeyed() -> None:
    """A process that shall outlive its terminal does; any other one ends orderly with it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop().watching():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    with (stop := Stop()).watching():
        signal.raise_signal(signal.SIGHUP)
    assert stop.signal == signal.SIGHUP


def test_a_second_interrupt_interrupts() -> None:
    """Somebody who presses Ctrl-C twice has no patience left."""
    stop = Stop()
    with stop.watching():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


async def test_a_signal_before_the_loop_sets_its_event() -> None:
    """What came while the process started is not lost on the way into the event loop."""
    stop = Stop()
    with stop.watching():
        signal.raise_signal(signal.SIGTERM)
        with stop.event() as asked:
            await timeouts.wait_for(asked.wait(), 5)


def test_imports_look_at_the_flag() -> None:
    """A module that swallows the interruption is stopped at its next import; afterwards imports are as ever."""
    stop, before = Stop(), list(sys.meta_path)
    with pytest.raises(KeyboardInterrupt), stop.importing():
        import_two_modules(stop)
    assert sys.meta_path == before


def import_two_modules(stop: Stop) -> None:
    stop.signal = signal.SIGTERM
    for name in ("discordplex.never_there", "discordplex.nor_there"):
        with pytest.raises(KeyboardInterrupt):
            __import__(name)


STREAMLESS = """
import os, sys
from discordplex.__main__ import open_streams

open_streams()
null = os.stat(os.devnull)
print("nobody reads this", file=sys.stderr, flush=True)
raise SystemExit(0 if all(os.path.samestat(os.fstat(number), null) for number in (0, 1, 2)) else 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are numbered otherwise there")
def test_no_file_or_socket_becomes_a_standard_stream() -> None:
    """Started with its streams closed (`2>&-`), a process opens the null device in their place: errors would go into the database else."""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", STREAMLESS]
    assert subprocess.run(closed, check=False, timeout=60).returncode == 0  # noqa: S603 -- our own interpreter
