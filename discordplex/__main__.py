"""`python -m discordplex` is `discordplex`. It watches for signals first, and imports everything else after that."""

import os
import sys

from discordplex.stopping import Stop


def open_streams() -> None:
    """Open the null device as each standard stream that the process was started without.

    Their numbers would go to sockets and to the database's file, into which every library would write its errors.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))  # the lowest free number is its own


def main() -> int:
    """Run the process's own command line, and give the exit code."""
    open_streams()
    stop = Stop()
    with stop.watching(until_exit=True):
        from discordplex import cli  # noqa: PLC0415 -- see above

        return cli.main(stop=stop)


if __name__ == "__main__":
    sys.exit(main())
