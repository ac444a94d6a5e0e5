"""Settings that survive a restart: the choices of guilds and people, who must not be heard, who waits, and transcripts where they are on.

Start with `store.py`: `open_store` and `Store`. `records.py` defines what goes in and comes out. Each kind of setting has its own file;
each of their methods is one transaction through `database.py`. When it returns, the change is durable; if it fails, it raises `StoreError`
with a plain sentence. `tables.py` is the schema, and `migrations/` leads to it from each older one.
"""
