"""An engine: NVIDIA's PersonaPlex, and every server that uses Moshi's dialect of the same protocol.

Start with `connection.py`: the phases of a conversation. `protocol.py` defines the messages, `endpoint.py` the URL, `client.py` owns the
socket, `engine.py` implements the engine port, `pool.py` leases the servers. `app.py` imports `pool`, `doctor` also `endpoint` and
`dialing`, `loopback` only the pure modules `protocol` and `endpoint`.
"""
