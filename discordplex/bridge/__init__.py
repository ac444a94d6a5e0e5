"""A call: people to engine, engine to people. It knows the engine port, never an engine.

Start with `session.py`: it owns one call and starts everything else. `events.py` lists what a call tells the bot, `ports.py` what it needs
of the voice side. `bot` imports `session`, `events`, `ports` and `gated_sink`; the rest is internal.
"""
