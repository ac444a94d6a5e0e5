"""Slash commands, buttons and prefix commands: one file for each group.

`register.py` adds them all to a client. `base.py` has what they share (rights, answers), `views.py` the base of buttons. Only `login.py`
and `client.py` import this package.
"""
