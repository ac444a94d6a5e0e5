"""The Discord application on py-cord: it decides when a call exists. No audio in here.

`switchboard.py` is where to start: what people do comes in there. It decides with `autojoin.py` and `access.py`; `callbook.py` has the
calls that run, `waitingroom.py` those who wait, `housekeeping.py` looks after both. Below them `sessions.py` keeps the books: who has an
engine, who is next. One call is `call.py`: `entry.py` and `stage.py` bring it into a channel, `conversation.py` holds the engine, `ears.py`
says whom it hears, `announcer.py` what it says in the chat.

`login.py` ties it all to Discord. `commands.py` gives the bot its slash commands, which ask the `desk.py`; buttons (`panels.py`) and
written commands (`prefix.py`) do the same. `preferences.py` is what people chose, over the store. The sentences are in `replies.py` and its
siblings.
"""
