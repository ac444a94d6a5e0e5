"""Messages: how the bot writes captions and notices into text channels.

`notices.py` decides what is posted in which channel, `poster.py` writes the messages of one channel, and `channel.py` is the interface to a
channel, with its implementation on py-cord.
"""
