"""The systemd unit of the bot, for the place where this discordplex is installed. It reads the file system and nothing else."""

import stat
import sys
from collections.abc import Iterable
from pathlib import Path

import discordplex
from discordplex.errors import ConfigError

HOMES = tuple(Path(home) for home in ("/home", "/root", "/run/user"))
TEMPORARY = tuple(Path(folder) for folder in ("/tmp", "/var/tmp"))  # noqa: S108 -- the folders that PrivateTmp= replaces

UNIT = """\
# Written by `discordplex systemd` (discordplex {version}).
[Unit]
Description=discordplex, people in a Discord voice channel talk with a speech AI
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
# One file for each secret, named like the setting: discord.token. The folder may be root's own; the service gets copies for itself alone.
LoadCredential=discordplex:{secrets}
# Other settings, one NAME=VALUE per line; the file may be missing.
EnvironmentFile=-/etc/discordplex/discordplex.env

# Its user exists while it runs. Settings that people make are kept in /var/lib/discordplex.
DynamicUser=yes
StateDirectory=discordplex
StateDirectoryMode=0700
WorkingDirectory=%S/discordplex
UMask=0077

# 2: the configuration is wrong, and would be at the next start.
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
# It leaves its calls and ends within 5 s.
TimeoutStopSec=10
LimitNOFILE=16384

# What it cannot do. MemoryDenyWriteExecute= is not possible: the library that reads MP3 and FLAC of speech servers needs such memory.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
PrivateUsers=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
LockPersonality=yes
KeyringMode=private
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(*, config: Path | None = None, secrets: Path, python: Path, places: Iterable[Path]) -> str:
    """The text of the unit.

    `python` is the interpreter; `places` are the files and folders that the service reads besides `config`. Raises ConfigError if its user
    could not read one of them.
    """
    read = [*places, *([config.absolute()] if config else [])]
    for place in read:
        check_readable(place)
    words = [str(python), "-I", "-m", "discordplex", "run", "--log-format", "json"]
    words += ["--config", str(config.absolute())] if config else []
    in_home = any(is_in(place, HOMES) for place in read)
    return UNIT.format(
        version=discordplex.__version__,
        command=" ".join([*map(quoted, words), "--set", "secrets_dir=${CREDENTIALS_DIRECTORY}"]),
        secrets=escaped(str(secrets.absolute())),
        home="read-only" if in_home else "yes",
    )


def own_places() -> list[Path]:
    """Where this discordplex and its interpreter are, links followed and not."""
    named = [Path(sys.executable), Path(sys.prefix), Path(sys.base_prefix), Path(discordplex.__file__).parent]
    return [*named, *(place.resolve() for place in named)]


def check_readable(place: Path) -> None:
    """Raise ConfigError if a user without rights cannot reach a file or folder, or the unit hides it."""
    if not place.exists():
        raise ConfigError(f"{place} does not exist.")
    if is_in(place, TEMPORARY):
        raise ConfigError(f"{place} is in a folder for temporary files, which the service does not see. {ELSEWHERE}")
    for folder in (place, *place.parents):
        wanted = stat.S_IROTH if folder.is_file() else stat.S_IXOTH
        if not folder.stat().st_mode & wanted:
            raise ConfigError(f"The user of the service cannot read {place}, because {folder} is closed to other users. {ELSEWHERE}")


ELSEWHERE = "Put it where every user may read it, for instance below /opt/discordplex (docs/deploy.md), and run this again from there."


def is_in(place: Path, folders: Iterable[Path]) -> bool:
    """Whether a path is below one of these folders."""
    return any(place.is_relative_to(folder) for folder in folders)


def quoted(word: str) -> str:
    """A word of a command line as systemd reads it."""
    text = escaped(word).replace("$", "$$")
    return f'"{text}"' if any(character.isspace() or character in "\"'\\;" for character in word) else text


def escaped(text: str) -> str:
    """A text in a unit, with what systemd would replace doubled."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
