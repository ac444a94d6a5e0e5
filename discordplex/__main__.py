"""`python -m discordplex` is `discordplex`. It watches for signals first, and imports everything else after that."""

import sys

from discordplex.stopping import Stop


def main() -> int:
    """Run the process's own command line, and give the exit code."""
    stop = Stop()
    with stop.watching():
        from discordplex import cli  # noqa: PLC0415 -- see above

        return cli.main(stop=stop)


if __name__ == "__main__":
    sys.exit(main())
