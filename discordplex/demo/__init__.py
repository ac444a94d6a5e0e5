"""The demo: a whole call on this machine, its live view, its report and its timeline picture."""
