"""Sound: frames, codecs, buffers. No socket and no asyncio in here; only `sink.py` and `source.py` import discord."""
