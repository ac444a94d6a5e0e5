"""What is installed on this machine: Python, the Discord library, the codecs, the encryption."""

import sys
from collections.abc import Callable
from importlib import metadata

from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.errors import DiscordplexError
from discordplex.installing import pip
from discordplex.pycord import PYCORD

REINSTALL_OPUS = f"Run: {pip('install', '--force-reinstall', 'opuslib-next-bundled')}"

OLDEST_PYTHON = (3, 10)


def check_python() -> Finding:
    """Whether this Python is new enough."""
    version = sys.version.split()[0]
    if sys.version_info < OLDEST_PYTHON:
        return failure("python", f"This is Python {version}.", "Install Python 3.10 or newer.")
    return ok("python", f"Python {version}.")


def check_discord_library(installed: Callable[[str], str | None] | None = None) -> Finding:
    """Whether py-cord is installed, and alone: discord.py owns the same import name and overwrites its files."""
    version_of = installed or installed_version
    pycord, rival = version_of("py-cord"), version_of("discord.py")
    mend = f"Run: {pip('uninstall', '-y', 'discord.py', 'py-cord')}\nThen: {pip('install', '--force-reinstall', PYCORD)}"
    if pycord is None:
        return failure("discord library", "py-cord is not installed.", mend)
    if rival is not None:
        return failure("discord library", "py-cord and discord.py are both installed and overwrite each other.", mend)
    return ok("discord library", f"py-cord {pycord}.")


def check_opus() -> Finding:
    """Whether libopus encodes and decodes a frame."""
    try:
        from discordplex.audio import libopus  # noqa: PLC0415 -- loads the native library: its absence is a finding
        from discordplex.audio.format import DISCORD  # noqa: PLC0415 -- the same
        from discordplex.audio.opus import OpusDecoder, OpusEncoder  # noqa: PLC0415 -- the same

        packet = OpusEncoder().encode(DISCORD.silence)
        intact = len(OpusDecoder().decode(packet)) == DISCORD.frame_bytes
    except DiscordplexError as fault:
        return failure("libopus", str(fault), REINSTALL_OPUS)
    except Exception as fault:  # noqa: BLE001 -- a broken native library may raise anything; the doctor says it
        return failure("libopus", f"libopus does not work here ({type(fault).__name__}).", REINSTALL_OPUS)
    if not intact:
        return failure("libopus", "libopus gives frames of a wrong length.", REINSTALL_OPUS)
    version = str(libopus.version(), "ascii").removesuffix("unknown").strip()  # the copy in opuslib-next-bundled does not know its own
    return ok("libopus", f"{version} encodes and decodes ({libopus.origin}).")


def check_oggopus() -> Finding:
    """Which OggOpus implementation is used for the engine."""
    version = installed_version("sphn")
    if version is None:
        return ok("oggopus", "sphn has no wheel for this platform; the built-in Ogg Opus code replaces it.")
    return ok("oggopus", f"sphn {version}.")


def check_dave() -> Finding:
    """Whether calls can be encrypted end to end, which Discord demands."""
    try:
        import dave  # noqa: PLC0415 -- a native library: its absence is a finding, not a crash
    except (ImportError, OSError):
        return failure(
            "encryption",
            "libdave is missing, and Discord refuses calls without end-to-end encryption (close code 4017).",
            f"Run: {pip('install', 'dave.py>=1.1,<2')}",
        )
    protocol = dave.get_max_supported_protocol_version()
    if protocol < 1:
        return warning(
            "encryption", f"libdave is there but speaks protocol {protocol} only.", f"Run: {pip('install', '-U', 'dave.py>=1.1,<2')}"
        )
    return ok("encryption", f"libdave (dave.py {installed_version('dave.py')}) speaks DAVE protocol {protocol}.")


def installed_version(package: str) -> str | None:
    """The version of an installed package, None where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
