"""Several processes, one bot: who lives, who holds which shard and engine slot, and who is next, in rows of one PostgreSQL database.

Start with `cluster.py`: `Cluster`, whose beat reads the rows, lets `arbiter.py` decide, and writes what it decided. `snapshot.py` is what
the rows say, `rows.py` reads and writes them, `slots.py` and `queue.py` are the ports of engines and of the queue. A bot without
`cluster.url` imports none of it.
"""
