"""A call: people -> engine, engine -> people. Knows the engine port, never an engine."""
