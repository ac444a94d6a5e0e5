"""`python -m benchmarks.peers.discordjs run ...`: becomes the discord.js bridge. It reads the environment of `discordplex run`."""

import os
import shutil
from pathlib import Path

from benchmarks.peers.install import NODE_MODULES

PROGRAM = ("-m", "benchmarks.peers.discordjs")
SCRIPT = Path(__file__).with_name("discordjs.cjs")


def main() -> None:
    """Take this process's place, so that what it uses is measured under its own number."""
    node = shutil.which("node")
    if node is None:
        raise SystemExit("Node is not installed.")
    environment = dict(os.environ) | {"NODE_PATH": str(NODE_MODULES), "NODE_EXTRA_CA_CERTS": os.environ["SSL_CERT_FILE"]}
    os.execve(node, [node, str(SCRIPT)], environment)  # noqa: S606  # our own script


if __name__ == "__main__":
    main()
