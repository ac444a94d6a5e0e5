"""End-to-end encryption (DAVE): the session that encrypts and decrypts frames, and its MLS group.

`session.py` encrypts and decrypts; `group.py` is the pure state of the group. Only `voice/session.py` and `rtp/` import from here.
"""
