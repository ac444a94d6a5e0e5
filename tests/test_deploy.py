"""What `deploy/` says agrees with the code; what linters know is checked by them where they are at hand."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from discordplex import cli
from discordplex.config.settings import KEYS, Config
from discordplex.config.sources import variable_of
from discordplex.monitoring.access import OPEN_PATHS, Access, is_loopback
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
    """Variables, and names of files with secrets, are keys of the configuration."""
    files = [*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.env"), DEPLOY / "Dockerfile", DEPLOY.parent / "docs" / "deploy.md"]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    used = set(re.findall(r"DISCORDPLEX_[A-Z_]+", text))
    assert len(used) >= 6
    assert used <= {variable_of(key) for key in KEYS}
    secrets = set(re.findall(r"\bsecrets/(\w+(?:\.\w+)+)", text))
    assert {"discord.token", "cluster.url"} <= secrets
    assert secrets <= set(KEYS)


def test_the_image_is_small_and_powerless() -> None:
    """Built in one stage and run in another, by a user who may do nothing, with a health check."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert len(re.findall(r"^FROM python:[\d.]+-slim", text, re.MULTILINE)) == 2
    assert "--require-hashes" in text
    assert text.index("USER 10001:10001") < text.index("ENTRYPOINT")
    assert "/healthz" in text


# Compose


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]


def in_profile(profile: str) -> dict[str, Any]:
    return {name: service for name, service in SERVICES.items() if profile in service["profiles"]}


def test_each_profile_starts_what_it_says() -> None:
    """The bot alone; three processes and their database; an engine on the GPU, for one call or for several; what watches it."""
    profiles = {profile for service in SERVICES.values() for profile in service["profiles"]}
    assert {profile: sorted(in_profile(profile)) for profile in profiles} == {
        "bot": ["bot"],
        "cluster": ["bot-1", "bot-2", "bot-3", "postgres"],
        "gpu": ["bot", "personaplex"],
        "gpu-many": ["bot", "vllm-omni"],
        "monitoring": ["grafana", "prometheus"],
    }


def test_what_needs_no_gpu_has_no_rights() -> None:
    """A read-only file system, no capabilities, and none to be had."""
    for service in (one for one in SERVICES.values() if "deploy" not in one):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_volume_is_declared() -> None:
    """And none that nobody mounts."""
    mounted = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    named = {volume.partition(":")[0] for volume in mounted if isinstance(volume, str) and not volume.startswith(".")}
    assert named == COMPOSE["volumes"].keys()


@pytest.mark.parametrize("name", ["bot", "bot-1", "bot-2", "bot-3"])
def test_a_bot_s_settings_are_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder with secrets is where they are mounted; each process of several has its own port and the same database."""
    service = SERVICES[name]
    (secrets,) = (volume for volume in service["volumes"] if isinstance(volume, dict))
    assert service["environment"]["DISCORDPLEX_SECRETS_DIR"] == secrets["target"]
    config = loaded(service["environment"], ["discord.token"], tmp_path, monkeypatch)
    assert (config.cluster.url is not None) == (name != "bot")
    sockets = [volume for volume in service["volumes"] if isinstance(volume, str) and volume.startswith("postgres-socket:")]
    assert all(f"host={volume.partition(':')[2]}" in str(config.cluster.url) for volume in sockets)
    assert len(sockets) == (name != "bot")
    others = [one for one in in_profile("cluster").values() if "DISCORDPLEX_MONITORING__LISTEN" in one["environment"]]
    assert len({one["environment"]["DISCORDPLEX_MONITORING__LISTEN"] for one in others}) == 3


def loaded(environ: dict[str, str], secrets: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The settings of these variables, and of these files, where the variables say that there are files."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    for key in secrets:
        (folder / key).write_text(SECRETS[key], encoding="utf-8")
    config = Config.load(None, {**environ, "DISCORDPLEX_SECRETS_DIR": str(folder)})
    assert config.discord.token is not None
    return config


SECRETS = {"discord.token": "t0ken", "cluster.url": "postgresql://u:p@db/discordplex", "monitoring.password": "correct horse battery"}


# Kubernetes


KUBERNETES = DEPLOY / "kubernetes"


def manifest(name: str) -> Any:
    return yaml.safe_load((KUBERNETES / f"{name}.yaml").read_text(encoding="utf-8"))


def pod() -> Any:
    return manifest("deployment")["spec"]["template"]["spec"]


def test_the_kustomization_names_every_file() -> None:
    """A manifest that nobody lists is applied by nobody."""
    listed = manifest("kustomization")
    there = {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed["resources"]) == there
    assert listed["configMapGenerator"] == [{"name": "discordplex", "envs": ["settings.env"]}]
    assert {image["name"] for image in listed["images"]} == {container["image"] for container in pod()["containers"]}


def test_a_pod_s_settings_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the ConfigMap, of the container and of the secret together: several processes, and monitoring that probes can reach."""
    (bot,) = pod()["containers"]
    lines = (KUBERNETES / "settings.env").read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=", 1) for line in lines) | {one["name"]: one["value"] for one in bot["env"]}
    (secret,) = manifest("kustomization")["secretGenerator"]
    keys = [Path(file).name for file in secret["files"]]
    (mount,) = (one for one in bot["volumeMounts"] if one["name"] == "secrets")
    assert environ["DISCORDPLEX_SECRETS_DIR"] == mount["mountPath"]
    assert (secret["name"], pod()["volumes"][0]["secret"]["secretName"]) == ("discordplex", "discordplex")
    config = loaded(environ, keys, tmp_path, monkeypatch)
    assert config.cluster.url
    access = Access.of(config.monitoring)
    assert [port["containerPort"] for port in bot["ports"]] == [access.port]
    assert not is_loopback(access.host)
    probes = {kind: bot[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/healthz",
        "liveness": "/healthz",
        "readiness": "/readyz",
    }
    assert {probe["port"] for probe in probes.values()} == {bot["ports"][0]["name"]}
    assert {probe["path"] for probe in probes.values()} <= set(OPEN_PATHS)


def test_a_pod_has_no_rights() -> None:
    """It passes Kubernetes' standard `restricted`, which the namespace enforces, as the user that the image has."""
    (bot,) = pod()["containers"]
    rights = pod()["securityContext"]
    image = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert f"USER {rights['runAsUser']}:{rights['runAsGroup']}" in image
    assert rights["runAsNonRoot"] is True
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert bot["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert manifest("namespace")["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert {one["mountPath"] for one in bot["volumeMounts"]} >= {"/data", "/tmp"}  # noqa: S108 -- where the container may write


def test_a_pod_has_the_time_that_it_needs_to_end() -> None:
    """Its calls may go on for a while after SIGTERM, then it ends within 5 s; a drained node takes one process after the other."""
    args = cli.make_parser().parse_args(pod()["containers"][0]["args"])
    assert args.verb == "run"
    assert pod()["terminationGracePeriodSeconds"] >= args.drain + 10
    labels = {"matchLabels": {"app.kubernetes.io/name": "discordplex"}}
    assert manifest("poddisruptionbudget")["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": labels,
    }
    assert manifest("networkpolicy")["spec"]["podSelector"] == labels
    assert manifest("kustomization")["labels"] == [{"pairs": labels["matchLabels"], "includeSelectors": True}]


# Linters


def ran(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A linter's verdict; the test is skipped where there is none."""
    program = shutil.which(command[0], path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
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


OLDEST_COMPOSE = (2, 24)
"""The first in which a settings file may be missing. Linux distributions still have Compose 1 under the same name."""


def version_of_compose() -> tuple[int, ...]:
    found = ran("docker-compose", "version", "--short", cwd=DEPLOY)
    return tuple(map(int, re.findall(r"\d+", found.stdout)[:2]))


@pytest.mark.parametrize("profile", ["bot", "cluster", "gpu", "gpu-many", "monitoring"])
def test_compose_takes_each_profile(profile: str) -> None:
    """Nothing in it is unknown, misspelled or contradictory."""
    if version_of_compose() < OLDEST_COMPOSE:
        pytest.skip("Compose 2.24 or newer is not installed")
    found = ran("docker-compose", "-f", "compose.yaml", "--profile", profile, "config", "--quiet", cwd=DEPLOY)
    assert (found.returncode, found.stderr) == (0, "")


def test_kustomize_and_the_schemas_take_the_manifests(tmp_path: Path) -> None:
    """They fit together, and each field is one that Kubernetes knows."""
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets"))
    (folder / "secrets").mkdir()
    for key, value in SECRETS.items():
        (folder / "secrets" / key).write_text(value, encoding="utf-8")
    built = ran("kubectl", "kustomize", ".", cwd=folder)
    assert (built.returncode, built.stderr) == (0, "")
    kinds = [one["kind"] for one in yaml.safe_load_all(built.stdout)]
    assert sorted(kinds) == ["ConfigMap", "Deployment", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Secret"]
    (tmp_path / "all.yaml").write_text(built.stdout, encoding="utf-8")
    judged = ran("kubernetes-validate", "--strict", "all.yaml", cwd=tmp_path)
    assert judged.returncode == 0, judged.stdout + judged.stderr
