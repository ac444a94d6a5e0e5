"""An engine: NVIDIA's PersonaPlex, and every server that uses Moshi's dialect of the same protocol.

Start with `engine.py`, which implements the engine port over `client.py` (the socket) and `connection.py` (the phases of a conversation).
Others import `pool` and `endpoint`; `loopback` only the pure modules `endpoint` and `protocol`.
"""
