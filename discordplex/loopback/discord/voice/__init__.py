"""The voice servers: gateway v8, and a UDP relay with simulated network faults.

Start with `gateway.py`, where a client connects; `relay.py` forwards datagrams, `impairments.py` describes the faults, `dave/` is
end-to-end encryption. Others import `gateway` and `impairments`; `person/` also `messages`, `media_thread` and `dave`.
"""
