"""What the doctor says of files, certificates and proxies."""

import os
from pathlib import Path

import pytest

from discordplex.config import Config
from discordplex.config.settings import exposed_files, gather
from discordplex.doctor.surroundings import check_certificates, check_files, check_proxies, check_secrets

ELSEWHERE = Config.model_validate({"personaplex": {"urls": ["wss://gpu.lan/api/chat"]}})


@pytest.fixture(autouse=True)
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SOCKS_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


def test_the_usual_is_not_mentioned() -> None:
    """No variable, no line."""
    assert [*check_certificates(), *check_proxies(ELSEWHERE), *check_files([])] == []


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize(
    ("name", "content", "mode", "warned"),
    [
        ("a.toml", '[discord]\ntoken = "abc"', 0o644, True),
        ("a.toml", '[discord]\ntoken = "abc"', 0o640, True),
        ("a.toml", '[discord]\ntoken = "abc"', 0o600, False),
        ("a.toml", '[store]\nurl = "postgresql://u:p@h/x"', 0o644, True),
        ("a.toml", '[personaplex]\nurls = ["wss://u:p@h/x"]', 0o644, True),
        ("a.toml", "[bot]\nauto_join = false", 0o644, False),
        ("a.toml", "[[", 0o644, False),
        (".env", "DISCORDPLEX_DISCORD__TOKEN='abc'", 0o644, True),
        (".env", "DISCORDPLEX_CASCADE__THINK__API_KEY=abc", 0o604, True),
        (".env", "OTHER=1", 0o644, False),
    ],
)
def test_a_secret_that_others_may_read_is_a_warning(
    name: str,
    content: str,
    mode: int,
    warned: bool,  # noqa: FBT001 -- a column of the table
    tmp_path: Path,
) -> None:
    """With the command that mends it."""
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    file.chmod(mode)
    findings = check_files(exposed_files(file if name != ".env" else None, Config()))
    assert [finding.verdict for finding in findings] == ["warning"] * warned
    assert all(finding.mend == f"Run: chmod 600 {file if name != '.env' else name}" for finding in findings)


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
@pytest.mark.parametrize(
    ("folder_mode", "mode", "warned"), [(0o755, 0o644, True), (0o755, 0o440, False), (0o700, 0o644, False), (0o755, 0o600, False)]
)
def test_a_secret_s_file_is_for_its_owner_and_group(folder_mode: int, mode: int, warned: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """Kubernetes gives it to the container's group; a folder that others cannot enter hides what is in it."""
    file = tmp_path / "discord.token"
    file.write_text("abc", encoding="utf-8")
    file.chmod(mode)
    tmp_path.chmod(folder_mode)
    found = exposed_files(tmp_path / "none.toml", Config(secrets_dir=str(tmp_path)))
    assert found == [file] * warned


def test_where_each_secret_comes_from(tmp_path: Path) -> None:
    """One line each, without the secret; what is no secret is not listed."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "discord__token").write_text("t0ken\n", encoding="utf-8")
    (secrets / "store.url").write_text("postgresql://u:p4ss@h/x", encoding="utf-8")
    (secrets / "bot.captions").write_text("off", encoding="utf-8")
    environ = {"DISCORDPLEX_SECRETS_DIR": str(secrets), "DISCORDPLEX_REALTIME__API_KEY": "k3y"}
    given = gather(None, environ, {})
    assert [finding.says for finding in check_secrets(Config.validated(given), given)] == [
        f"discord.token is set in {secrets / 'discord__token'}.",
        "realtime.api_key is set in the environment as DISCORDPLEX_REALTIME__API_KEY.",
        f"store.url is set in {secrets / 'store.url'}.",
    ]


def test_a_proxy_on_the_way_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what never goes through it."""
    monkeypatch.setenv("https_proxy", "http://u:s3cret@proxy.lan:3128")
    (found,) = check_proxies(ELSEWHERE)
    assert "http://proxy.lan:3128 (https_proxy)" in found.says
    assert "UDP" in found.says
    assert "s3cret" not in f"{found}"
    monkeypatch.setenv("NO_PROXY", "discord.com,gpu.lan")
    assert check_proxies(ELSEWHERE) == []


def test_certificates_that_the_environment_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder that is there needs no word, one that is not is a failure with the variable's name."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert check_certificates() == []
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    (found,) = check_certificates()
    assert (found.verdict, "SSL_CERT_DIR" in found.says) == ("failure", True)
