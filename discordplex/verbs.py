"""The verbs of the command line: each reads the settings, sets up the log and delegates. Slow imports are inside the functions."""

import argparse
import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discordplex.errors import ConfigError
from discordplex.stopping import Stop

if TYPE_CHECKING:
    from discordplex.config import Config
    from discordplex.config.sources import Given

DEMO_DESCRIPTION = (
    "Start a loopback Discord, a person who speaks, the real bot and an engine, all on this machine. Writes conversation.wav, "
    "transcript.jsonl, timeline.png and report.json."
)

WITHOUT_IDENTITY = (
    "discord.token is missing: put the bot's token into DISCORDPLEX_DISCORD__TOKEN (environment or .env), or token under [discord] in "
    "discordplex.toml. Tokens come from https://discord.com/developers/applications; `discordplex demo` needs none."
)


def run(args: argparse.Namespace) -> int:
    """Run the bot until it is told to stop."""
    with args.stop.importing():
        config = load(args)
        if config.discord.token is None:
            looked = f" There is no file discord.token in {config.secrets_dir} (secrets_dir)." if config.secrets_dir else ""
            raise ConfigError(f"{WITHOUT_IDENTITY}{looked}")
        check_place(args.report, "--report")
        start_log(args)
        require_pycord()
        from discordplex import app

    return asyncio.run(app.run(config, stop=args.stop, report=args.report, drain_s=args.drain))


def check_place(file: Path | None, option: str) -> None:
    """Raise ConfigError at the start if a file that is written at the end cannot be written."""
    if file is None:
        return
    if file.is_dir():
        raise ConfigError(f"{option} names the folder {file}: add the name of a file.")
    if not file.parent.is_dir():
        raise ConfigError(
            f"{option} names {file}, and the folder {file.parent} does not exist: create it, or name a file in another folder."
        )
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise ConfigError(f"{option} names {file}, which this user may not write: name another file.")


def demo(args: argparse.Namespace) -> int:
    """Make a whole call on this machine."""
    with args.stop.importing():
        start_log(args, quiet=True)
        require_pycord()
        from discordplex.demo.command import DemoOptions, run_demo

    options = DemoOptions(
        speech=args.speech, out=args.out, engine=args.engine, seconds=args.seconds, as_json=args.json, memory_s=args.memory, ears=args.ears
    )
    return run_demo(options, args.stop)


def standin(args: argparse.Namespace) -> int:
    """Run a PersonaPlex server without a model until it is told to stop."""
    with args.stop.importing():
        start_log(args)
        from discordplex.loopback.personaplex.serve import serve

    until_stopped(args.stop, lambda stop: serve(args.host, args.port, args.mode, args.ready_file, stop))
    return 0


def loopback(args: argparse.Namespace) -> int:
    """Run a loopback Discord until it is told to stop."""
    with args.stop.importing():
        start_log(args)
        from discordplex.loopback.discord.serve import serve

    options = {"require_dave": args.require_dave, "shards": args.shards}
    until_stopped(args.stop, lambda stop: serve(args.dir, args.port, args.speaker, stop, **options))
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Check what `run` needs."""
    config = load(args)
    start_log(args, quiet=True)
    from discordplex import doctor as checks
    from discordplex.config.settings import exposed_files, gather

    given = gather(args.config, os.environ, dict(args.set))
    return int(checks.run(config, as_json=args.json, given=given, exposed=exposed_files(args.config, config), deep=args.deep))


def config_show(args: argparse.Namespace) -> int:
    """Print the settings in force as TOML, each with its source."""
    from discordplex.config.settings import Config, gather

    given = gather(args.config, os.environ, dict(args.set))
    sys.stdout.write("\n".join(listing(Config.validated(given), given)) + "\n")
    return 0


def listing(config: "Config", given: Mapping[str, "Given"]) -> Iterator[str]:
    """TOML lines with every setting in force and its source; secrets are masked."""
    from discordplex.config.settings import KEYS, shown_value

    table = ""
    for key in KEYS:
        section, _, name = key.rpartition(".")
        if section != table:
            yield f"\n[{section}]"
            table = section
        value = config.value_of(key)
        origin = given[key].place if key in given else "default"
        yield f"# {name} is not set" if value is None else f"{name} = {shown_value(key, value)}  # {origin}"


def config_check(args: argparse.Namespace) -> int:
    """Check the settings, including what the engine would refuse."""
    config = load(args)
    from discordplex.cascade.provider import check_persona
    from discordplex.config.settings import exposed_files
    from discordplex.personaplex.endpoint import Endpoint, check_prompt, check_voice
    from discordplex.store import address

    if config.cluster.url:  # first, because store.url is the same unless it is set
        address.parse(config.cluster.url, "cluster.url")
    address.parse(config.store.url)
    if config.monitoring.listen:
        from discordplex.monitoring.access import Access

        Access.of(config.monitoring)
    for url in config.personaplex.urls:
        Endpoint.parse(url)

    found = []
    for kind in config.engine.kinds:
        persona = config.persona_of(kind)
        if kind == "cascade":
            problems = [check_persona(persona.voice, persona.text_prompt)]
        elif kind == "realtime":
            from discordplex.clock import SystemClock
            from discordplex.realtime.provider import RealtimeProvider

            problems = [RealtimeProvider(config.realtime, clock=SystemClock()).check(persona.voice, persona.text_prompt)]
        else:
            problems = [check_voice(persona.voice), check_prompt(persona.text_prompt)]
        found += [f"persona: {problem}" for problem in problems if problem]
    if found:
        raise ConfigError("\n".join(found))
    if config.hearing.enabled:
        from discordplex.clock import SystemClock
        from discordplex.hearing.provider import Hearing

        Hearing(config.cascade, clock=SystemClock())
    sys.stdout.write("".join(f"{line}\n" for line in ("The settings are valid.", *hints(config, exposed_files(args.config, config)))))
    return 0


def hints(config: "Config", exposed: Iterable[Path]) -> Iterator[str]:
    """What `run` will need besides valid settings, and which files should be read by nobody else."""
    from discordplex.realtime.dialects import needs_key

    for file in exposed:
        yield f"{file} holds a secret, and other users of this machine may read it: chmod 600 {file}"
    if config.discord.token is None:
        yield "discord.token is not set yet; `discordplex run` needs it."
    if "realtime" in config.engine.kinds and config.realtime.api_key is None and needs_key(config.realtime.url):
        yield "realtime.api_key is not set yet; the service at realtime.url needs it."


def config_init(args: argparse.Namespace) -> int:
    """Write a commented settings file; never overwrite one."""
    text = files("discordplex").joinpath("config.example.toml").read_text(encoding="utf-8")
    file: Path = args.file
    try:
        # Readable by its owner only: it will contain a token.
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise ConfigError(f"{file} already exists and was not changed. Name another file, or move this one away.") from None
    sys.stdout.write(f"Wrote {file}. Put the bot's token into it, then run: discordplex config check\n")
    return 0


def systemd(args: argparse.Namespace) -> int:
    """Print the systemd unit of this installation."""
    from discordplex.systemd import own_places, unit

    if sys.platform != "linux":
        raise ConfigError("systemd exists on Linux only.")
    sys.stdout.write(unit(config=args.config, secrets=args.secrets, python=Path(sys.executable), places=own_places()))
    return 0


def load(args: argparse.Namespace) -> "Config":
    """The settings in force. From now on their secrets are masked in every log line."""
    from discordplex.config import Config
    from discordplex.logs import keep_secret

    config = Config.load(args.config, os.environ, dict(args.set))
    for secret in [*config.secrets, *config.passwords]:
        keep_secret(secret)
    return config


def start_log(args: argparse.Namespace, *, quiet: bool = False) -> None:
    """Set up the log as the command line asks. `quiet` verbs print their own output and log warnings only, unless a level was given."""
    from discordplex.logs import set_up

    set_up(args.log_format, "warning" if quiet and args.log_level == "info" else args.log_level)


def require_pycord() -> None:
    """Raise ConfigError if another library owns the name `discord`."""
    from discordplex import pycord

    pycord.require_pycord()


def until_stopped(stop: Stop, serve: Callable[[asyncio.Event], Awaitable[Any]]) -> None:
    """Run a server until a signal stops the process, then let it end cleanly."""

    async def serve_until_stopped() -> None:
        with stop.event() as asked:
            await serve(asked)

    asyncio.run(serve_until_stopped())
