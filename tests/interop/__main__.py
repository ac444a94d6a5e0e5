"""`make interop`: install discord.js, aimock and axe beside the checkout, once, and use each; one clear line where that cannot be.

discord.js is another client in an encrypted call, aimock another server for the cascade and the realtime engine, and axe judges the
status page.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.peers.npm import why_not

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / ".interop"


def main() -> int:
    """Exit code of the tests; 0 where they cannot be run here."""
    obstacle = why_not(HERE, FOLDER)
    if obstacle:
        sys.stdout.write(f"interop is skipped: {obstacle}\n")
        return 0
    return subprocess.run([sys.executable, "-m", "pytest", "-m", "interop", str(HERE)], check=False).returncode  # noqa: S603 - our own tests


if __name__ == "__main__":
    sys.exit(main())
