"""A call: people -> engine, engine -> people. Knows the engine port, never an engine.

`session.py` is where to start: it owns one call and starts everything else. `events.py` is what a call tells the bot, `ports.py` what it
asks of the voice side. `metronome.py`, `captions.py` and `retry.py` are pure.
"""
