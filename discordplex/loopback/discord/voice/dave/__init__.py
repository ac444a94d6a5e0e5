"""End-to-end encryption as the voice servers see it: an MLS group that they deliver for and cannot read; and people who are in it.

`delivery.py` is the servers' part, `member.py` a person's, in two kinds: `libdave_member.py` and `davey_member.py`.
"""
