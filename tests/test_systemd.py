"""The systemd unit: what it starts, what it reads, and where it cannot work."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from discordplex import cli
from discordplex.errors import ConfigError
from discordplex.systemd import check_readable, own_places, unit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd exists on Linux only")

PYTHON = Path("/opt/discordplex/bin/python")
SECRETS = Path("/etc/discordplex/secrets")
EVERYBODY_S = Path("/usr")
"""A folder that every user of any machine may read."""


def value(text: str, name: str) -> str:
    return str(re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)[-1])


def test_it_starts_this_installation_with_its_secrets() -> None:
    """The interpreter that prints it, without what lies in the working directory, and the folder of credentials."""
    text = unit(secrets=SECRETS, python=PYTHON, places=[EVERYBODY_S])
    assert value(text, "ExecStart") == f"{PYTHON} -I -m discordplex run --log-format json --set secrets_dir=${{CREDENTIALS_DIRECTORY}}"
    assert value(text, "LoadCredential") == f"discordplex:{SECRETS}"
    assert value(text, "ProtectHome") == "yes"
    assert not re.search(r"\{\w+\}", text.replace("${CREDENTIALS_DIRECTORY}", ""))


def test_the_options_of_its_command_line_exist() -> None:
    """What systemd starts is something that the command line knows."""
    words = value(unit(secrets=SECRETS, python=PYTHON, places=[]), "ExecStart").split()
    args = cli.make_parser().parse_args(words[words.index("discordplex") + 1 :])
    assert args.verb == "run"
    assert dict(args.set) == {"secrets_dir": "${CREDENTIALS_DIRECTORY}"}


def test_strange_paths_are_quoted() -> None:
    """Blanks, and what systemd would replace."""
    text = unit(secrets=Path("/etc/100%"), python=Path("/opt/my bot/$x/python"), places=[])
    assert value(text, "ExecStart").startswith('"/opt/my bot/$$x/python" -I ')
    assert value(text, "LoadCredential") == "discordplex:/etc/100%%"


def test_a_settings_file_is_part_of_the_command() -> None:
    """By its whole path: the service runs elsewhere."""
    assert f" --config {EVERYBODY_S} " in value(unit(config=EVERYBODY_S, secrets=SECRETS, python=PYTHON, places=[]), "ExecStart")
    with pytest.raises(ConfigError, match=r"/none\.toml does not exist"):
        unit(config=Path("none.toml"), secrets=SECRETS, python=PYTHON, places=[])


def test_an_installation_in_a_home_that_others_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes are not hidden then."""
    monkeypatch.setattr("discordplex.systemd.HOMES", (EVERYBODY_S,))
    assert value(unit(secrets=SECRETS, python=PYTHON, places=[EVERYBODY_S / "bin"]), "ProtectHome") == "read-only"


def test_what_the_service_cannot_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is closed to others, a folder for temporary files: the unit would fail at its start, without a word of ours."""
    with pytest.raises(ConfigError, match="does not see"):
        check_readable(Path("/tmp"))  # noqa: S108 -- the folder itself
    monkeypatch.setattr("discordplex.systemd.TEMPORARY", ())
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "python").touch(mode=0o755)
    with pytest.raises(ConfigError, match=rf"cannot read {closed}/python, because {closed} is closed to other users") as caught:
        check_readable(closed / "python")
    assert "/opt/discordplex" in str(caught.value)


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """For this interpreter, or one sentence where its user could not read this installation."""
    monkeypatch.setattr("discordplex.systemd.own_places", lambda: [EVERYBODY_S])
    assert cli.main(["systemd", "--secrets", "/srv/secrets"]) == 0
    text = capsys.readouterr().out
    assert value(text, "ExecStart").startswith(sys.executable)
    assert value(text, "LoadCredential") == "discordplex:/srv/secrets"
    assert Path(sys.executable) in own_places()


def test_systemd_takes_it(tmp_path: Path) -> None:
    """Without a warning, and as a service that may do little."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    file = tmp_path / "discordplex.service"
    file.write_text(unit(secrets=SECRETS, python=Path("/bin/sh"), places=[]), encoding="utf-8")
    verified = subprocess.run([program, "verify", str(file)], capture_output=True, text=True, check=False)  # noqa: S603 -- a linter
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(  # noqa: S603 -- the same
        [program, "security", "--offline=yes", "--threshold=20", str(file)], capture_output=True, text=True, check=False
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
