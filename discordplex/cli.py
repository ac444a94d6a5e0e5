"""The command line: parse, delegate, exit code.

0: done. 1: it failed while running. 2: the command line or the configuration is wrong. Errors go to stderr as plain sentences. The start is
quick because each verb imports only what it needs (`verbs.py`).
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from discordplex import __version__, verbs
from discordplex.descriptors import NO_DESCRIPTORS, says_no_descriptors
from discordplex.errors import ConfigError, DiscordplexError
from discordplex.stopping import SIGNALS, Stop, is_for_others

DONE, FAILED, WRONG = 0, 1, 2

LOG_LEVELS = ("debug", "info", "warning", "error")

STAYS = ("run", "standin", "loopback")
"""Verbs that run until a signal ends them; that is success."""

MOST_SHARDS = 1024
"""More gateway connections than any bot of one process has."""

MOST_DRAIN_S = 86_400.0
"""No call is waited for longer: whoever drains a process wants its end."""

ORDERLY = (*STAYS, "demo")
"""Verbs that clean up before they end. A signal ends every other verb at once, like any program."""


def main(argv: Sequence[str] | None = None, *, stop: Stop | None = None) -> int:
    """Run the verb that `argv` (the process's own where None) names, and give the exit code.

    `stop` is one whose `watching` is entered already. Raises SystemExit for --help and usage errors, as argparse does.
    """
    if stop is None:
        stop = Stop()
        with stop.watching():
            return main(argv, stop=stop)
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help(sys.stderr)
        return WRONG
    args.stop = stop
    if args.verb not in ORDERLY:
        watch_no_more(stop)
    return attempt(args)


def watch_no_more(stop: Stop) -> None:
    """Give signals their usual effect again, including one that has already arrived."""
    for number in (one for one in SIGNALS if not is_for_others(one)):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    if stop.signal is not None:
        signal.raise_signal(stop.signal)


def attempt(args: argparse.Namespace) -> int:
    """Run the chosen verb. An exception becomes a sentence on stderr and an exit code."""
    try:
        args.stop.check()
        return int(args.run(args))
    except DiscordplexError as fault:
        return complain(fault.full, WRONG if isinstance(fault, ConfigError) else FAILED)
    except KeyboardInterrupt:
        return DONE if args.verb in STAYS else complain("interrupted", FAILED)
    except BrokenPipeError:
        # Whoever read our output has had enough, as in `discordplex config show | head -1`; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as fault:
        return complain(plain(fault), FAILED)
    except Exception as fault:
        if getattr(args, "log_level", "") == "debug":
            raise
        from discordplex.logs import place_of  # noqa: PLC0415 -- nothing but a failure needs it

        # Not its message: that may quote a server.
        where = f"{type(fault).__name__}, {place_of(fault)}"
        return complain(f"something broke inside discordplex ({where}); --log-level debug shows more, please report it", FAILED)


def complain(sentence: str, code: int) -> int:
    """Print what is wrong to stderr, one line per fault, and return the exit code."""
    for line in sentence.splitlines():
        print(f"discordplex: {line}", file=sys.stderr)
    return code


def plain(fault: OSError) -> str:
    """An error of the operating system as a sentence: which file, and what is wrong with it."""
    if says_no_descriptors(fault):
        return f"{NO_DESCRIPTORS}."
    what = (fault.strerror or str(fault) or type(fault).__name__).lower()
    return f"{fault.filename}: {what}" if fault.filename else what


def make_parser() -> argparse.ArgumentParser:
    """Every verb with its options."""
    parser = argparse.ArgumentParser(prog="discordplex", description="People in a Discord voice channel talk with a speech AI.")
    parser.add_argument("--version", action="version", version=f"discordplex {__version__}")
    commands = parser.add_subparsers(dest="verb", metavar="COMMAND")
    add_run(commands)
    add_demo(commands)
    add_standin(commands)
    add_loopback(commands)
    add_doctor(commands)
    add_config(commands)
    add_systemd(commands)
    return parser


Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse documents the object and gives its type no public name


def add_verb(
    commands: "Commands[argparse.ArgumentParser]", name: str, *parents: argparse.ArgumentParser, does: str, description: str = ""
) -> argparse.ArgumentParser:
    """Add a verb with the options of `parents`. `does` is its line in the list of verbs, and its own help if there is no `description`."""
    return commands.add_parser(name, parents=parents, help=does, description=description or f"{does[0].upper()}{does[1:]}.")


def add_run(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`run`."""
    run = add_verb(commands, "run", settings(), logging(), does="run the bot until Ctrl-C, SIGTERM or SIGHUP")
    run.add_argument("--report", type=Path, metavar="FILE", help="write the measurements to FILE (JSON) at the end")
    run.add_argument(
        "--drain",
        type=drain_time,
        default=0,
        metavar="S",
        help=f"after SIGTERM, let calls that run go on for up to S seconds, at most {MOST_DRAIN_S:.0f}, while no other ones begin "
        "(default: end them at once)",
    )
    run.set_defaults(run=verbs.run)


def add_demo(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`demo`."""
    demo = add_verb(
        commands,
        "demo",
        logging(),
        does="make a whole call on this machine: no token, no GPU, no network",
        description=verbs.DEMO_DESCRIPTION,
    )
    demo.add_argument("--speech", type=Path, metavar="FILE.wav", help="what the person says (default: a short clip)")
    demo.add_argument(
        "--out", type=Path, metavar="DIR", default=Path("discordplex-demo"), help="where the results go (default: %(default)s)"
    )
    demo.add_argument(
        "--engine", default="parrot", metavar="ENGINE", help="parrot (default), echo, talker, cascade, realtime, or a server's ws:// URL"
    )
    demo.add_argument("--seconds", type=positive, metavar="N", help="end after N seconds (default: after the speech and its answer)")
    demo.add_argument(
        "--memory",
        type=positive,
        metavar="N",
        help="let the engine remember only N seconds: the call is handed over between two conversations (default: 240, as the model does)",
    )
    demo.add_argument("--ears", action="store_true", help="transcribe what the person says, beside an engine that does not do so")
    demo.add_argument("--json", action="store_true", help="print only the report, as JSON")
    demo.set_defaults(run=verbs.demo)


def add_standin(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`standin`."""
    standin = add_verb(commands, "standin", logging(), does="run a server that speaks the PersonaPlex protocol, without a model")
    standin.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    standin.add_argument("--port", type=port, default=8998, help="port, 0 for any (default: %(default)s)")
    standin.add_argument(
        "--mode",
        choices=("parrot", "echo", "talker"),
        default="parrot",
        help="parrot repeats when the person pauses (default), echo repeats at once, talker speaks by itself",
    )
    standin.add_argument("--ready-file", type=Path, metavar="FILE", help="write the URL of the server to FILE when it accepts calls")
    standin.set_defaults(run=verbs.standin)


def add_loopback(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`loopback`."""
    loopback = add_verb(commands, "loopback", logging(), does="run a local Discord on this machine, for any Discord library")
    loopback.add_argument("--dir", type=Path, metavar="DIR", required=True, help="where to write ca.pem and ready.json")
    loopback.add_argument("--port", type=port, default=0, help="port, 0 for any (default: %(default)s)")
    loopback.add_argument("--speaker", type=Path, metavar="FILE.wav", help="a person enters the first voice channel and speaks this file")
    loopback.add_argument(
        "--require-dave", action="store_true", help="refuse voice clients without end-to-end encryption (4017), as Discord does"
    )
    loopback.add_argument(
        "--shards", type=shards, default=1, metavar="N", help="how many gateway connections are recommended to a bot (default: %(default)s)"
    )
    loopback.set_defaults(run=verbs.loopback)


def add_doctor(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`doctor`."""
    doctor = add_verb(commands, "doctor", settings(), logging(), does="check what `run` needs, and say how to fix what is wrong")
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.add_argument("--deep", action="store_true", help="also open a session with a Realtime service, which may cost money")
    doctor.set_defaults(run=verbs.doctor)


def add_config(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`config` and what it can do."""
    config = add_verb(commands, "config", does="show or check the settings, or write a file to start from")
    actions = config.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = add_verb(actions, "show", settings(), does="show the settings in force and where each comes from; secrets are masked")
    show.set_defaults(run=verbs.config_show)
    check = add_verb(actions, "check", settings(), does="check whether the settings are valid")
    check.set_defaults(run=verbs.config_check)
    init = add_verb(actions, "init", does="write a commented file to start from")
    init.add_argument("file", type=Path, nargs="?", default=Path("discordplex.toml"), metavar="FILE", help="default: %(default)s")
    init.set_defaults(run=verbs.config_init)


def add_systemd(commands: "Commands[argparse.ArgumentParser]") -> None:
    """`systemd`."""
    systemd = add_verb(commands, "systemd", does="print a systemd unit that runs the bot as this discordplex is installed")
    systemd.add_argument("--config", type=Path, metavar="FILE", help="a settings file for the service (default: none)")
    systemd.add_argument(
        "--secrets",
        type=Path,
        metavar="DIR",
        default=Path("/etc/discordplex/secrets"),
        help="the folder with one file for each secret (default: %(default)s)",
    )
    systemd.set_defaults(run=verbs.systemd)


def settings() -> argparse.ArgumentParser:
    """Options of every verb that reads the settings."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config", type=Path, metavar="FILE", help="the settings file (default: ./discordplex.toml if it exists)")
    parser.add_argument(
        "--set", action="append", default=[], type=assignment, metavar="KEY=VALUE", help="change one setting, for example bot.captions=off"
    )
    return parser


def logging() -> argparse.ArgumentParser:
    """Options of every verb that writes log lines."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--log-format", choices=("rich", "json"), help="default: rich on a terminal, json anywhere else")
    parser.add_argument("--log-level", choices=LOG_LEVELS, default="info", help="default: %(default)s")
    return parser


def assignment(word: str) -> tuple[str, str]:
    """KEY=VALUE."""
    key, equals, value = word.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError("it must be KEY=VALUE")  # not the word: it may be a token
    return key, value


def port(word: str) -> int:
    """A TCP port, 0 for any."""
    if not word.isdecimal() or int(word) > 65535:  # noqa: PLR2004 - the largest port there is
        raise argparse.ArgumentTypeError(f"{word!r} is not a port from 0 to 65535")
    return int(word)


def shards(word: str) -> int:
    """A number of gateway connections."""
    if not word.isdecimal() or not 1 <= int(word) <= MOST_SHARDS:
        raise argparse.ArgumentTypeError(f"{word!r} is not a number from 1 to {MOST_SHARDS}")
    return int(word)


def drain_time(word: str) -> float:
    """A number of seconds above 0, a day at most."""
    seconds = positive(word)
    if seconds > MOST_DRAIN_S:
        raise argparse.ArgumentTypeError(f"{word!r} is more than a day ({MOST_DRAIN_S:.0f} seconds)")
    return seconds


def positive(word: str) -> float:
    """A number of seconds above 0."""
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number above 0")
    return seconds
