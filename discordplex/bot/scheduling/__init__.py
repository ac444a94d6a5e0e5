"""Who gets a call, who waits, and for how long.

Read `dispatcher.py` first: an event comes in, pure rules decide, `running.py` starts, moves or ends a call. Others import `dispatcher.py`.
"""
