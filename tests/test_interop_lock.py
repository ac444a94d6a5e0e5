"""What `make interop` installs is pinned."""

import json
import re
from pathlib import Path

INTEROP = Path(__file__).parent / "interop"


def test_the_lock_pins_every_package_and_names_no_registry() -> None:
    """Each has a version and a hash, what is asked for is one version, and no address of a registry is in the file."""
    manifest = json.loads((INTEROP / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((INTEROP / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["version"] and package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
    assert all(re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) for version in manifest["dependencies"].values())
    assert manifest["dependencies"] == lock["packages"][""]["dependencies"]


def test_no_install_script_runs() -> None:
    """Somebody else's programs run in a test alone, not while they are installed."""
    text = (INTEROP / "__main__.py").read_text(encoding="utf-8")
    assert '"ci", "--ignore-scripts"' in text
