"""From each older schema to today's, by Alembic, at start.

A new one: change `tables.py`, add its number to `REVISIONS` there, write `versions/v<number>_<what>.py`, which takes the last schema to it,
and keep a database of the new schema in `tests/store/history/`. A revision that was released is never changed again.
"""
