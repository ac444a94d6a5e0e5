"""`python -m discordplex` is `discordplex`."""

import sys

from discordplex.cli import main

if __name__ == "__main__":
    sys.exit(main())
