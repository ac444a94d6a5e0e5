"""What every test of the loopback needs."""

import sys

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Python 3.10's asyncio never marks a TLS transport closed that its peer has reset, and warns about it whatever one does."""
    if sys.version_info < (3, 11):
        config.addinivalue_line("filterwarnings", "ignore:unclosed transport <asyncio.sslproto:ResourceWarning")
