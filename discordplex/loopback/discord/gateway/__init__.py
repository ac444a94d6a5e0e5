"""The gateway, v10: logins, numbered events, resuming.

Start with `gateway.py`, which keeps the sessions of all logins; `connection.py` is one WebSocket, `dispatches.py` turns facts into events.
`server.py` imports `Gateway`; the rest is internal.
"""
