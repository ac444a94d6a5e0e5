"""Packets: sockets and threads, transport encryption, order, loss, Opus.

`receiver.py` takes a datagram to PCM, `sender.py` PCM to a datagram; a lost packet is concealed in `stream.py`. `threads.py` runs both.
"""
