"""Sound: frames, codecs, buffers. No sockets and no asyncio; only `sink.py` and `source.py` import discord.

Start with `format.py` (the formats and their numbers), then `sink.py` (people's sound, per speaker) and `playout.py` (the engine's sound at
a steady pace). Every room above may import any module from here; nothing here imports them.
"""
