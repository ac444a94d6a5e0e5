"""A PersonaPlex server with no model in it: the real protocol and the real behaviour, faults on demand."""
