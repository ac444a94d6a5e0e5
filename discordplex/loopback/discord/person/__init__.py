"""People on the other end: each with a voice session, a socket and ears of their own.

`person.py` is what tests hold; `session.py` speaks the voice gateway, `socket.py` sends and receives, `media.py` is their sound. Only
`acts.py`, the demo and tests start people.
"""
