"""Packages from npm beside the checkout, pinned to the byte, for programs that are run next to ours. They are installed once."""

import re
import shutil
import subprocess
from pathlib import Path

MANIFESTS = ("package.json", "package-lock.json")
"""What is installed: the second pins every package with its hash, and names no registry."""
OLDEST_NODE = "20.15"
INSTALL_WITHIN_S = 60


def why_not(manifests: Path, folder: Path) -> str | None:
    """Install what the manifests in one folder name into another; None when it is there, else what is missing, in a sentence."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return f"Node {OLDEST_NODE} or newer with npm is not installed."
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - found on PATH
    if numbers(version) < numbers(OLDEST_NODE):
        return f"this is Node {version}, and {OLDEST_NODE} or newer is needed."
    return install(npm, {name: (manifests / name).read_text(encoding="utf-8") for name in MANIFESTS}, folder)


def numbers(version: str) -> list[int]:
    """A version's numbers, to compare it by."""
    return [int(number) for number in re.findall("[0-9]+", version)]


def install(npm: str, manifests: dict[str, str], folder: Path) -> str | None:
    """Install the packages, unless that has been done; why that failed."""
    wanted = manifests[MANIFESTS[1]]
    installed = folder / "installed.json"
    if installed.is_file() and installed.read_text(encoding="utf-8") == wanted:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in manifests.items():
        (folder / name).write_text(content, encoding="utf-8")
    # Their install scripts are somebody else's programs and are not run.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN_S)  # noqa: S603 - the same
    except subprocess.TimeoutExpired:
        return f"npm has not installed its packages within {INSTALL_WITHIN_S} s."
    if done.returncode:
        return f"npm cannot install its packages: {(done.stderr.strip() or 'no reason given').splitlines()[0]}"
    installed.write_text(wanted, encoding="utf-8")
    return None
