"""Checks of what `run` needs; each result says how to fix a failure.

Start with `report.py`, which runs the checks of the other files in order and prints the results. Others import `run` only.
"""

from discordplex.doctor.report import run

__all__ = ["run"]
