"""Settings that outlive a restart: what guilds and people chose, who must not be heard, who waits, and transcripts where they are wanted.

`store.py` is where to start: `open_store` and what it gives. `records.py` is what goes in and comes out. Each kind of setting has a file of
its own; every one of their methods is one transaction through `database.py`, durable once it returns, and raises `StoreError` with a plain
sentence where it cannot be. `tables.py` is the schema, `migrations/` the way to it from each older one.
"""
