"""What `deploy/` says agrees with the code; what linters know is checked by them where they are at hand."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from discordplex.config.settings import KEYS
from discordplex.config.sources import variable_of
from tests.monitoring.test_catalog import families

DEPLOY = Path(__file__).parent.parent / "deploy"
BOARD = DEPLOY / "grafana" / "provisioning" / "dashboards" / "discordplex.json"
RULES = DEPLOY / "prometheus" / "rules.yml"

PROCESS = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
"""What prometheus_client itself tells of the process."""


@pytest.mark.parametrize("file", [BOARD, RULES], ids=["board", "rules"])
def test_every_metric_is_one_of_ours(file: Path) -> None:
    """A query for a metric that was renamed would be empty for ever."""
    known = {name for name, _ in families()} | PROCESS
    used = set(re.findall(r"\bdiscordplex_(\w+)", file.read_text(encoding="utf-8")))
    assert len(used) >= 7
    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in used} <= known


def test_the_board_is_whole() -> None:
    """Each panel has a title, a query and the data source that is provisioned; none lies on another."""
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    source = re.search(r"uid: (\S+)", (BOARD.parents[1] / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))
    assert source
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["targets"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source[1]}
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not places & cells
        places |= cells
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_settings_in_it_exist() -> None:
    """Variables of the image are keys of the configuration."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8") + (DEPLOY.parent / "docs" / "deploy.md").read_text(encoding="utf-8")
    used = set(re.findall(r"DISCORDPLEX_[A-Z_]+", text))
    assert used
    assert used <= {variable_of(key) for key in KEYS}


def test_the_image_is_small_and_powerless() -> None:
    """Built in one stage and run in another, by a user who may do nothing, with a health check."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert len(re.findall(r"^FROM python:[\d.]+-slim", text, re.MULTILINE)) == 2
    assert "--require-hashes" in text
    assert text.index("USER 10001:10001") < text.index("ENTRYPOINT")
    assert "/healthz" in text
    compose = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    assert "read_only: true" in compose
    assert "cap_drop: [ALL]" in compose
    assert set(re.findall(r"profiles: \[(.+)\]", compose)) == {"bot, gpu", "gpu", "monitoring"}


def ran(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A linter's verdict; the test is skipped where there is none."""
    program = shutil.which(command[0])
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run([program, *command[1:]], cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603 -- a linter


def test_promtool_takes_the_rules() -> None:
    """They are well formed, and fire when they should."""
    found = ran("promtool", "test", "rules", "rules_test.yml", cwd=RULES.parent)
    assert found.returncode == 0, found.stdout + found.stderr
    found = ran("promtool", "check", "config", "prometheus.yml", cwd=RULES.parent)
    assert found.returncode == 0, found.stdout + found.stderr


def test_hadolint_takes_the_image() -> None:
    """Without a warning."""
    found = ran("hadolint", "Dockerfile", cwd=DEPLOY)
    assert (found.returncode, found.stdout) == (0, "")
