"""The status page: one HTML document with its style and script in it, and nothing from elsewhere. `status_page` is the door.

The policy allows exactly this style and this script, by their hashes, and requests to the bot alone.
"""

import base64
import hashlib
from importlib.resources import files


def status_page() -> tuple[bytes, str]:
    """The document, and its Content-Security-Policy."""
    style, script = text_of("status.css"), text_of("status.js")
    document = text_of("status.html").replace("/*STYLE*/", style).replace("/*SCRIPT*/", script)
    policy = (
        f"default-src 'none'; style-src {hash_of(style)}; script-src {hash_of(script)}; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return document.encode(), policy


def text_of(name: str) -> str:
    """A file beside this one."""
    return files(__package__ or __name__).joinpath(name).read_text(encoding="utf-8")


def hash_of(source: str) -> str:
    """A source expression that allows exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"
