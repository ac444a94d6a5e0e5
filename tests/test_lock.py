"""`requirements.lock` pins what a deploy installs. `make lock` renews it."""

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (Path(__file__).parent.parent / "requirements.lock").read_text(encoding="utf-8")
PINS = re.findall(r"^([a-z0-9.-]+)==(\S+)(.*(?:\n    .*)*)", LOCK, re.MULTILINE)
EXTRAS = ("cascade", "monitoring", "otel", "postgres", "socks")


def test_every_dependency_is_pinned_to_a_version_in_its_range() -> None:
    """Each pin of a package that pyproject.toml asks for, the tools for development apart, is a version that it takes."""
    wanted = [Requirement(line) for line in requires("discordplex") or []]
    deployed = [
        one for one in wanted if not one.marker or "extra" not in str(one.marker) or any(f'"{name}"' in str(one.marker) for name in EXTRAS)
    ]
    assert len(deployed) > len(EXTRAS)
    for one in deployed:
        versions = [version for name, version, _ in PINS if name == canonicalize_name(one.name)]
        assert versions, f"requirements.lock does not pin {one.name}: run `make lock`"
        assert all(version in one.specifier for version in versions), f"requirements.lock pins {one.name} to {versions}: run `make lock`"


def test_every_pin_has_hashes() -> None:
    """A package is installed only with a known hash: it is what it was when the file was written."""
    pinned = re.findall(r"^[^\s#].*", LOCK, re.MULTILINE)
    assert len(pinned) == len(PINS)
    assert all("--hash=sha256:" in rest for _, _, rest in PINS)


def test_the_lock_names_no_registry() -> None:
    """No address and no path is in the file, so it works with every registry."""
    assert not re.search(r"://|^-|--(?:extra-)?index|--find-links| @ |/(?:tmp|home|opt|work)/", LOCK, re.MULTILINE)
