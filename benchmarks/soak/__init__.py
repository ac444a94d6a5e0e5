"""`make soak`: two calls for minutes or an hour, with everything that goes wrong on a long evening, and what is left behind afterwards.

`conduct.py` runs it, `census.py` is the bot that tells what it holds, `judge.py` says what must be true. Start with `conduct.py`.
"""
