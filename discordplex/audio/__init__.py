"""Sound: frames, codecs, buffers. Pure: no socket, no asyncio; only `sink.py` and `source.py` import discord."""
