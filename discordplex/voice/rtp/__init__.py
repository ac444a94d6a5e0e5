"""Packets: sockets and threads, transport encryption, order, loss, Opus.

`receiver.py` takes a datagram to PCM and conceals lost packets, `sender.py` takes PCM to a datagram. `threads.py` runs both.
"""
