"""The Discord application on py-cord: it decides when a call exists. No audio in here.

A member's entering, file by file: `client.py` turns py-cord's event into facts, `scheduling/dispatcher.py` asks pure rules for a decision,
`scheduling/running.py` starts the call, `call/call.py` is the call from joining the channel to leaving it.

`login.py` puts the parts together and `application.py` logs in, again where that helps. `rules.py` says what holds in a guild, `access.py`
who may do what, `practice.py` what is done with people's words; what people read is in `texts/`. `app.py` imports `application.py`.
"""
