"""Fetch the peers into `.peers/` of the checkout, once, with the versions of package-lock.json and requirements.txt."""

import subprocess
import sys
import tarfile
from pathlib import Path

from benchmarks.bot import ROOT
from benchmarks.peers import npm

HERE = Path(__file__).parent
FOLDER = ROOT / ".peers"
NODE_MODULES = FOLDER / "node_modules"
REQUIREMENTS = HERE / "requirements.txt"
PYTHON = FOLDER / "python"
"""A virtual environment of its own: discord.py and py-cord are both called `discord`."""
PLUGIN = "hermes-talk==0.22.0"
PLUGIN_FOLDER = FOLDER / "hermes-talk"
"""The plugin as its source distribution has it: the wheel lacks the manifest by which Hermes Agent finds it."""
INSTALL_WITHIN_S = 300


def why_no_discordjs() -> str | None:
    """Install discord.js; why that cannot be, in a sentence."""
    return npm.why_not(HERE, FOLDER)


def why_no_hermes() -> str | None:
    """Install Hermes Agent and hermes-talk; why that cannot be, in a sentence."""
    if not (3, 11) <= sys.version_info < (3, 14):
        return f"Hermes Agent needs Python 3.11 to 3.13, and this is {sys.version_info.major}.{sys.version_info.minor}."
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    installed = FOLDER / "python.txt"
    if installed.is_file() and installed.read_text(encoding="utf-8") == wanted:
        return None
    FOLDER.mkdir(exist_ok=True)
    pip = [str(interpreter()), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(PYTHON)],
        [*pip, "install", "--requirement", str(REQUIREMENTS)],
        [*pip, "download", "--no-deps", "--no-binary", ":all:", "--dest", str(FOLDER), PLUGIN],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN_S)  # noqa: S603  # our own words
        except subprocess.TimeoutExpired:
            return f"pip has not installed Hermes Agent within {INSTALL_WITHIN_S} s."
        if done.returncode:
            return f"pip cannot install Hermes Agent: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
    unpack()
    installed.write_text(wanted, encoding="utf-8")
    return None


def interpreter() -> Path:
    """The Python in which the peer is installed."""
    return PYTHON / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def unpack() -> None:
    """The plugin's source distribution, as a folder."""
    (archive,) = FOLDER.glob("hermes_talk-*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(FOLDER, filter="data")
    top = FOLDER / archive.name.removesuffix(".tar.gz")
    if not PLUGIN_FOLDER.exists():
        top.rename(PLUGIN_FOLDER)
