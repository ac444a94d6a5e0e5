"""PersonaPlex without a model: NVIDIA's server as its clients meet it, faults included.

Start with `server.py`. Every behaviour here was measured on NVIDIA's own `server.py`, unmodified, around a tiny model of random weights,
with the versions of aiohttp and sphn it pins; the numbers beside the constants come from there. Nothing of `discordplex.personaplex` is
used but its pure modules, and Ogg is read and written apart from `discordplex.audio`, so that one misreading cannot agree with itself.
"""
