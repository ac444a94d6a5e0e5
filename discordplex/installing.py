"""Commands that install packages into this Python, to copy into a terminal. Nothing is run; `extra` reads how discordplex was installed."""

import json
import os
import re
import shlex
import sys
from importlib.metadata import PackageNotFoundError, distribution
from urllib.parse import urlsplit
from urllib.request import url2pathname

NAME = "discordplex"


def pip(*arguments: str, windows: bool = os.name == "nt") -> str:
    """The command that calls pip of the running Python with these arguments. It names a path: for the operator, not for Discord."""
    words = [sys.executable or "python", "-m", "pip", *arguments]
    if not windows:
        return shlex.join(words)
    line = " ".join(f'"{word}"' if re.search(r"[^\w.:\\/=-]", word) else word for word in words)
    return f"& {line}" if line.startswith('"') else line  # PowerShell takes a quoted word at the beginning for a text


def pip_extra(name: str, origin: str | None = None) -> str:
    """The command that installs an extra of discordplex from where discordplex itself came: a folder, or the package index.

    `origin` is the text of `direct_url.json` (PEP 610); that of the installed package unless given.
    """
    try:
        told = json.loads((distribution(NAME).read_text("direct_url.json") if origin is None else origin) or "{}")
    except (PackageNotFoundError, ValueError):
        told = {}
    folder, url = told.get("dir_info"), urlsplit(str(told.get("url", "")))
    if folder is None or url.scheme != "file":
        return pip("install", f"{NAME}[{name}]")
    return pip("install", *(["-e"] if folder.get("editable") else []), f"{url2pathname(url.path)}[{name}]")
