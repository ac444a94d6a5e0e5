"""Discord's REST API over HTTP.

Start with `server.py`, which takes a request; `api.py` finds its route in one table, the other files answer by subject.
`server.py` and `acts.py` of the loopback import `Rest`, `Interactions` and the rate limits; the rest is internal.
"""
