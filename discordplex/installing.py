"""Commands that install packages into this Python, to copy into a terminal. Pure."""

import os
import re
import shlex
import sys


def pip(*arguments: str, windows: bool = os.name == "nt") -> str:
    """The command that calls pip of the running Python with these arguments. It names a path: for the operator, not for Discord."""
    words = [sys.executable or "python", "-m", "pip", *arguments]
    if not windows:
        return shlex.join(words)
    line = " ".join(f'"{word}"' if re.search(r"[^\w.:\\/=-]", word) else word for word in words)
    return f"& {line}" if line.startswith('"') else line  # PowerShell takes a quoted word at the beginning for a text
