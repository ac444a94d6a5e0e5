"""Faults of a realtime session, each as a real service was seen to behave."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RealtimeFault:
    """What goes wrong with one session."""
