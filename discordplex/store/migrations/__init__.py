"""Migrations from each older schema to the current one. Alembic runs them at the start.

To add one: change `tables.py`, add its number to `REVISIONS` there, write `versions/v<number>_<what>.py`, which migrates the last schema to
it, and add a database of the new schema to `tests/store/history/`. A released revision is never changed.
"""
