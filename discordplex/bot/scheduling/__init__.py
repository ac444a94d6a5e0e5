"""Who gets a call, who waits, and for how long.

Start with `dispatcher.py`: an event comes in, the rules decide, `running.py` starts and runs the call, and its outcome says what is next.
`registry.py` has the engines in use and the queue; `waiting.py` tells people about the queue. Every part gets the same
`context.SchedulingContext`. `login.py` and `application.py` make the parts; nobody else imports this package.
"""
