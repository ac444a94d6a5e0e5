"""End-to-end encryption as the voice servers see it: an MLS group that they deliver for and cannot read; and people who are in it."""
