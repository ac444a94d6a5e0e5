"""What `make interop` and `make bench PEERS=1` install is pinned."""

import json
import re
import sys
from pathlib import Path

import pytest

from benchmarks.peers import install, npm

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"


@pytest.mark.parametrize("folder", [ROOT / "tests" / "interop", PEERS], ids=["interop", "peers"])
def test_the_lock_pins_every_package_and_names_no_registry(folder: Path) -> None:
    """Each has a version and a hash, what is asked for is one version, and no address of a registry is in the file."""
    manifest = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    lock = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert all(package["version"] and package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
    assert all(re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", version) for version in manifest["dependencies"].values())
    assert manifest["dependencies"] == lock["packages"][""]["dependencies"]


def test_no_install_script_runs() -> None:
    """Somebody else's programs run in a test alone, not while they are installed."""
    text = (PEERS / "npm.py").read_text(encoding="utf-8")
    assert '"ci", "--ignore-scripts"' in text


def test_the_python_peer_is_pinned_too() -> None:
    """Each line is one package with one version; the one of which the source is fetched has the same."""
    lines = [line for line in install.REQUIREMENTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+( ; .+)?", line) for line in lines)
    assert install.PLUGIN in lines


def test_without_node_the_reason_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing is raised, and nothing is written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert npm.why_not(PEERS, tmp_path / "peers") == "Node 20.15 or newer with npm is not installed."
    assert not (tmp_path / "peers").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the npm of this test is a shell script")
def test_without_the_network_the_reason_is_what_npm_says(tmp_path: Path) -> None:
    """The first line of it, and the next run tries again."""
    npm_that_fails = tmp_path / "npm"
    npm_that_fails.write_text("#!/bin/sh\necho 'npm error network request failed' >&2\necho more >&2\nexit 1\n")
    npm_that_fails.chmod(0o755)
    for _ in range(2):
        reason = npm.install(str(npm_that_fails), {"package.json": "{}", "package-lock.json": "{}"}, tmp_path / "peers")
        assert reason == "npm cannot install its packages: npm error network request failed"
