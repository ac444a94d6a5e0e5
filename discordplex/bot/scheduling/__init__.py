"""Who gets a call, who waits, and for how long.

Read `dispatcher.py` first: an event comes in, pure rules decide, `running.py` makes and runs the call, and its outcome says what is next.
Every part gets the one `context.SchedulingContext`. Others import `dispatcher.py`, and `context.GuildAccess`, which the login implements.
"""
