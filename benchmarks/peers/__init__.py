"""What people could use instead, measured on the same loopback in the same run: discord.js as a bridge, and hermes-talk.

`measure.py` says what is measured. `discordjs.cjs` and `discordjs.py` are one peer; `hermes.py` is the other, and `realtime.py` its server.
`install.py` fetches both at run time, pinned; nothing of them is a dependency.
"""
