"""The doctor: checks of what `run` needs, each with its mend.

`machine.py` looks at what is installed, `surroundings.py` at files, certificates and proxies, `engines.py` and `cascade.py` at the engine
servers, `discord_side.py` at Discord with the token;
`report.py` runs them in order and prints what they found.
"""

from discordplex.doctor.report import run

__all__ = ["run"]
