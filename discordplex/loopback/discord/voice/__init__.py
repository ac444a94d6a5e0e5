"""The voice servers: gateway v8 and a UDP relay that can spoil what passes.

`gateway.py` is where a client arrives; `relay.py` forwards datagrams, `impairments.py` says what befalls them, `dave/` encrypts.
"""
