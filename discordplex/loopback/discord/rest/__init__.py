"""Discord's REST API over HTTP.

`server.py` takes a request, `api.py` finds its route in one table, the other files answer by subject.
"""
