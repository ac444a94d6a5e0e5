"""The gateway, v10: logins, numbered events, resuming.

`gateway.py` keeps the sessions of all logins, `connection.py` is one WebSocket, `dispatches.py` says facts as events.
"""
