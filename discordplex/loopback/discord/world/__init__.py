"""The state of this Discord, and who may see it. Pure.

Start with `world.py`, which changes it; `model.py` and `directory.py` hold it, `payloads.py` turns it into JSON. Every other part of the
loopback may import from here, `demo` from `model` and `population`.
"""
