"""Packets: sockets and threads, transport encryption, order, loss, Opus.

`receiver.py` takes a datagram to PCM: it decrypts, orders, conceals lost packets (`_conceal`) and decodes. `reorder.py` finds the gaps.
`sender.py` takes PCM to a datagram. `threads.py` runs both.
"""
