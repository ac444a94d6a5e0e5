"""A Discord on 127.0.0.1: REST, gateway v10, voice gateway v8, a UDP relay with faults, and people.

Where to look: `server.py` opens it, `acts.py` is what tests do with it, `serve.py` runs it as a process.

* The state, pure: `model.py` (things and facts), `directory.py` (who and what there is, permissions), `world.py` (voice), `chat.py`,
  `population.py` (what is there at the start).
* REST: `rest.py` (the shell), `api.py` (calls, errors, the table of routes), `routes_*.py`, `rate_limits.py`, `interactions.py`.
* The gateway: `gateway.py` (sessions of all logins), `connection.py` (one WebSocket), `sessions.py` (numbered events, replay),
  `dispatches.py` (facts as events), `payloads.py` (things as JSON).
* Voice: `voice_gateway.py` and its neighbours, `relay.py` and `impairments.py` (datagrams and what befalls them), `person.py`.
"""
