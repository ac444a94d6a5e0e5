"""The protocol of the voice gateway, without IO: messages in, events out.

`protocol.py` is the state machine, a table of phases. `messages.py` reads and writes messages. `events.py` has the events.
"""
