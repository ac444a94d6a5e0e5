"""Local stand-ins for Discord, PersonaPlex and the OpenAI API on 127.0.0.1, with their real protocols.

Start with `discord/server.py`, `personaplex/server.py` or `openai/server.py`. `timeouts.py`, `clock.py`, `log.py` and `sockets.py` are
shared by them and the tests. Only the verbs, `demo`, `doctor`, benchmarks and tests import from here.
"""
