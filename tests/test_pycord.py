"""The import name `discord` belongs to py-cord, or the person is told how to mend it."""

import pytest

from discordplex.errors import DiscordplexError
from discordplex.pycord import installed, require_pycord


def test_pycord_alone_is_fine() -> None:
    """Where py-cord is installed and no rival is, nothing happens."""
    require_pycord(lambda name: name == "py-cord")


@pytest.mark.parametrize("others", [{"discord.py"}, {"discord.py", "py-cord"}])
def test_a_rival_is_named_with_the_mend(others: set[str]) -> None:
    """discord.py, alone or beside py-cord, is refused with the commands that mend it."""
    with pytest.raises(
        DiscordplexError, match=r"(?s)discord\.py is installed here.*-m pip uninstall -y discord\.py py-cord\nThen: .*-m pip install"
    ):
        require_pycord(others.__contains__)


def test_a_missing_library_is_named_with_the_mend() -> None:
    """Without py-cord the command that installs it is told."""
    with pytest.raises(DiscordplexError, match=r"py-cord is missing\. Run: .*-m pip install"):
        require_pycord(lambda _name: False)


def test_installed_asks_pip() -> None:
    """A distribution is installed when its metadata is here."""
    assert installed("pytest")
    assert not installed("no-such-distribution-anywhere")
