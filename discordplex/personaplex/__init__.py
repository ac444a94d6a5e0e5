"""One engine: NVIDIA's PersonaPlex, and every server that speaks Moshi's dialect of the same protocol.

Start with `connection.py`: the phases a conversation goes through. `protocol.py` says what a message is, `endpoint.py` what a server
must be asked, `client.py` owns the socket, `engine.py` puts sound on both ends of it, `pool.py` deals out the servers.
"""
