"""End-to-end encryption (DAVE): the delivery of MLS messages, and the members of a group.

Start with `delivery.py`, the voice server's side; `member.py` is a person's side, on libdave or davey. The voice servers and `person/`
import from here.
"""
