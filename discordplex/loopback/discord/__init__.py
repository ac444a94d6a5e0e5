"""A Discord on 127.0.0.1: REST, gateway v10, voice gateway v8, a UDP relay with faults, and people.

`server.py` opens it, `acts.py` is what tests do with it, `serve.py` runs it as a process.

* `world/`: the state and its rules, pure: users, guilds, channels, voice states, messages, permissions.
* `rest/`: the REST API; `gateway/`: logins and their events; `voice/`: the voice servers with `voice/dave/`; `person/`: people.
"""
