"""PersonaPlex without a model: NVIDIA's server as its clients see it, faults included.

Start with `server.py`. Every behaviour was measured on NVIDIA's own `server.py`, unmodified, around a tiny model of random weights, with
the versions of aiohttp and sphn that it pins; the numbers beside the constants come from there. Only the pure modules of
`discordplex.personaplex` are used, and Ogg is implemented apart from `discordplex.audio`, so that a shared mistake cannot hide a fault.
Others import `server`, `serve`, `log` and `faults`; `demo` also the modes.
"""
