"""Simulated people in voice channels, each with a voice session and a UDP socket.

Start with `person.py`; `session.py` is a client of the voice gateway, `socket.py` is UDP, `media.py` sends and receives sound.
Others import `Person` and `Timeline` only.
"""
