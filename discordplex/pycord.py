"""Checks that `discord` is py-cord: py-cord and discord.py both claim that import name, and only one can have it."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from discordplex.errors import DiscordplexError
from discordplex.installing import pip

OURS = "py-cord"

PYCORD = "py-cord>=2.8.1,<2.9"
"""The versions that discordplex works with, as pip reads them."""

RIVALS = ("discord.py", "discord.py-self")
"""Distributions that install their files into the same folder."""


def installed(distribution: str) -> bool:
    """Whether the distribution is installed."""
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def require_pycord(is_installed: Callable[[str], bool] = installed) -> None:
    """Raise DiscordplexError, with the commands that fix it, unless py-cord alone provides `discord`."""
    rivals = [name for name in RIVALS if is_installed(name)]
    if rivals:
        raise DiscordplexError(
            f'{rivals[0]} is installed here, and it owns the same import name "discord" as py-cord, which discordplex needs.\n'
            f"Run: {pip('uninstall', '-y', *rivals, OURS)}\nThen: {pip('install', PYCORD)}"
        )
    if not is_installed(OURS):
        raise DiscordplexError(f"py-cord is missing. Run: {pip('install', PYCORD)}")
