"""`make interop`: install discord.js and aimock beside the checkout, once, and play a call with each; one clear line where that cannot be.

discord.js is another client in an encrypted call, aimock another server for the cascade and the realtime engine.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".interop"
MANIFESTS = ("package.json", "package-lock.json")
"""What is installed to the byte: the second pins every package with its hash, and names no registry."""
OLDEST_NODE = "20.15"
INSTALL_WITHIN_S = 60


def main() -> int:
    """Exit code of the tests; 0 where they cannot be run here."""
    obstacle = why_not()
    if obstacle:
        sys.stdout.write(f"interop is skipped: {obstacle}\n")
        return 0
    return subprocess.run([sys.executable, "-m", "pytest", "-m", "interop", str(HERE)], check=False).returncode  # noqa: S603 - our own tests


def why_not() -> str | None:
    """What is missing, after everything has been tried; None where discord.js is there."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return f"Node {OLDEST_NODE} or newer with npm is not installed."
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603 - found on PATH
    if numbers(version) < numbers(OLDEST_NODE):
        return f"this is Node {version}, and {OLDEST_NODE} or newer is needed."
    return install(npm)


def numbers(version: str) -> list[int]:
    """A version's numbers, to compare it by."""
    return [int(number) for number in re.findall("[0-9]+", version)]


def install(npm: str) -> str | None:
    """Install the packages, unless that has been done; why that failed."""
    manifests = {name: (HERE / name).read_text(encoding="utf-8") for name in MANIFESTS}
    wanted = manifests["package-lock.json"]
    installed = FOLDER / "installed.json"
    if installed.is_file() and installed.read_text(encoding="utf-8") == wanted:
        return None
    FOLDER.mkdir(exist_ok=True)
    for name, content in manifests.items():
        (FOLDER / name).write_text(content, encoding="utf-8")
    # Their install scripts are somebody else's programs and are not run.
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
    try:
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=INSTALL_WITHIN_S)  # noqa: S603 - the same
    except subprocess.TimeoutExpired:
        return f"npm has not installed discord.js and aimock within {INSTALL_WITHIN_S} s."
    if done.returncode:
        return f"npm cannot install discord.js and aimock: {(done.stderr.strip() or 'no reason given').splitlines()[0]}"
    installed.write_text(wanted, encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main())
