"""The loopback's certificate authority, and the server certificate for every host name of Discord."""

import os
import ssl
from pathlib import Path

import trustme

NAMES = ("discord.com", "*.discord.com", "*.discord.gg", "*.discord.media", "localhost", "127.0.0.1")
CA_FILE, KEY_FILE = "ca.pem", "ca-key.pem"


def server_context(directory: Path) -> ssl.SSLContext:
    """A TLS context for the server; clients that trust `directory/ca.pem` trust it.

    An authority of an earlier run in the directory is used again, so a restarted loopback is still trusted. Its key never leaves the
    directory and is readable by its owner only.
    """
    authority = _load(directory) or _make(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*NAMES).configure_cert(context)
    return context


def client_context(ca_file: Path) -> ssl.SSLContext:
    """A TLS context for a client that trusts only this loopback."""
    return ssl.create_default_context(cafile=ca_file)


def _load(directory: Path) -> trustme.CA | None:
    certificate, key = directory / CA_FILE, directory / KEY_FILE
    if not (certificate.is_file() and key.is_file()):
        return None
    try:
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    except ValueError:  # damaged, for instance by a full disk: make a new one
        return None


def _make(directory: Path) -> trustme.CA:
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(organization_name="discordplex loopback")
    key = directory / KEY_FILE
    key.unlink(missing_ok=True)
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(authority.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(directory / CA_FILE))
    return authority
