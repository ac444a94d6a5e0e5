"""A Discord on 127.0.0.1: REST, gateway v10, voice gateway v8, a UDP relay with faults, and simulated people.

Start with `server.py`, which opens it; `acts.py` is what tests do with it, `serve.py` runs it as a process. Its parts: `world/` (the state
and its rules), `rest/`, `gateway/`, `voice/` with `voice/dave/`, and `person/`. Others import `server`, `serve`, `person.person`,
`world.model` and `voice.gateway`.
"""
