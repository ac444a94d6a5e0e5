"""End-to-end encryption (DAVE) in the loopback: the delivery of MLS messages, and the members of a group.

Start with `delivery.py`, the part of the voice servers; `member.py` is the part of a person, on libdave or davey.
The voice servers and `person/` import from here.
"""
