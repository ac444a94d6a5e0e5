"""Slash commands, buttons and prefix commands, one file for each family.

`register.py` adds them all to a client, `base.py` is what they share, `views.py` the buttons' base. Only `application.py` imports it.
"""
