"""A voice channel as the bot sees it, and how it writes into a text channel.

`channel.py` is the port and py-cord's side of it, `notices.py` what is said where, `poster.py` the one writer of each text channel.
"""
