"""What people copy into a terminal installs into the Python that runs."""

import os
import shlex
import sys

import pytest

from discordplex.installing import pip, pip_extra


def test_the_command_is_for_this_python_and_its_shell() -> None:
    """A POSIX shell reads the arguments as they were given."""
    command = pip("install", "discordplex[cascade]", "py-cord>=2.8.1,<2.9", windows=False)
    assert shlex.split(command) == [sys.executable, "-m", "pip", "install", "discordplex[cascade]", "py-cord>=2.8.1,<2.9"]


@pytest.mark.parametrize(
    ("python", "command"),
    [
        (r"C:\bot\.venv\Scripts\python.exe", r'C:\bot\.venv\Scripts\python.exe -m pip install "py-cord>=2.8.1,<2.9"'),
        (r"C:\my bot\python.exe", r'& "C:\my bot\python.exe" -m pip install "py-cord>=2.8.1,<2.9"'),
    ],
)
def test_windows_has_its_own_quotes(monkeypatch: pytest.MonkeyPatch, python: str, command: str) -> None:
    """Double quotes, where a word needs them: single ones are no quotes to cmd."""
    monkeypatch.setattr(sys, "executable", python)
    assert pip("install", "py-cord>=2.8.1,<2.9", windows=True) == command


@pytest.mark.skipif(os.name == "nt", reason="the paths of a POSIX system")
@pytest.mark.parametrize(
    ("origin", "arguments"),
    [
        ('{"url": "file:///home/ann/my%20bot", "dir_info": {"editable": true}}', ["-e", "/home/ann/my bot[cascade]"]),
        ('{"url": "file:///home/ann/bot", "dir_info": {}}', ["/home/ann/bot[cascade]"]),
        ('{"url": "file:///tmp/discordplex-1.0-py3-none-any.whl", "archive_info": {}}', ["discordplex[cascade]"]),
        ("", ["discordplex[cascade]"]),
        ("no json", ["discordplex[cascade]"]),
    ],
)
def test_an_extra_comes_from_where_the_package_came(origin: str, arguments: list[str]) -> None:
    """A copy of the repository is not replaced by a release, and a release does not need a copy."""
    assert shlex.split(pip_extra("cascade", origin)) == [sys.executable, "-m", "pip", "install", *arguments]
