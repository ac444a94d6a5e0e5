"""One guild's call, from joining the channel to leaving it.

Start at `call.py`. The scheduler imports `interface.py` (what it may ask of a call) and `call.py` (how one is made); nothing else leaves.
"""
