"""Fixtures of this room."""

import gc
import ssl
import sys
import warnings
from collections.abc import Iterator

import pytest
import trustme


@pytest.fixture
def tls(authority: trustme.CA, forgotten_tls: None) -> ssl.SSLContext:
    """A server's TLS for 127.0.0.1, signed by `authority`."""
    del forgotten_tls
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def forgotten_tls() -> Iterator[None]:
    """Until Python 3.11 asyncio forgets to close its half of a TLS transport whose handshake failed, and warns of itself."""
    yield
    if sys.version_info < (3, 11):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
