"""End-to-end encryption: the session that opens and seals frames, and the MLS group behind it.

`session.py` is what packets pass, `group.py` the pure state of the group. Only `voice/session.py` and `rtp/` import from here.
"""
