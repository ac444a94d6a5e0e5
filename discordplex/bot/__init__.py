"""The Discord application on py-cord: it decides when a call exists. No audio in here.

`login.py` is where everything is tied together. From there: `gateway.py` is py-cord's client; `switchboard.py` turns what people do into calls
that begin, wait, move and end, by the rules of `autojoin.py`, `sessions.py`, `waitingroom.py`; `call.py` is one of them. `commands.py` gives the bot
its slash commands, which ask the `desk.py`; `preferences.py` is what people chose. `noticeboard.py` and `poster.py` write into channels, and
`replies.py` with its siblings has the sentences.
"""
