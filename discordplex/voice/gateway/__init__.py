"""The voice gateway's protocol without IO: bytes in, events out.

`protocol.py` is the state machine, a table of phases; `messages.py` reads and writes messages, `events.py` says what came of them.
"""
