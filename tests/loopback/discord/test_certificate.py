"""Tests of discordplex.loopback.discord.certificate."""

import ssl
import stat
import sys
from pathlib import Path

from discordplex.loopback.discord.certificate import client_context, server_context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """A TLS handshake in memory; raises what a client would."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server, server_hostname=name), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


def test_every_name_of_discord_is_trusted(tmp_path: Path) -> None:
    """A client that trusts ca.pem accepts the server under Discord's names and under this machine's."""
    server, client = server_context(tmp_path), client_context(tmp_path / "ca.pem")
    for name in ("discord.com", "gateway.discord.gg", "eu1.discord.media", "localhost", "127.0.0.1"):
        shake_hands(server, client, name)


def test_an_earlier_authority_is_used_again(tmp_path: Path) -> None:
    """A restarted loopback is trusted by a client that trusted the first run; the key is its owner's alone."""
    server_context(tmp_path)
    client = client_context(tmp_path / "ca.pem")
    shake_hands(server_context(tmp_path), client, "localhost")
    if sys.platform != "win32":
        assert stat.S_IMODE((tmp_path / "ca-key.pem").stat().st_mode) == 0o600


def test_a_damaged_authority_is_replaced(tmp_path: Path) -> None:
    """A half-written key does not keep the loopback from starting."""
    server_context(tmp_path)
    (tmp_path / "ca-key.pem").write_text("half")
    server = server_context(tmp_path)
    shake_hands(server, client_context(tmp_path / "ca.pem"), "localhost")
