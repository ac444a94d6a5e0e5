"""The sound of a call: people to engine (`uplink.py`), engine to people (`downlink.py`).

Start with `session.py`: it runs one call and starts everything else. `events.py` lists what a call tells the bot, `ports.py` what it
needs from Discord's voice. It knows the interface of engines, but no engine. `bot` imports `session`, `events`, `ports`, `gated_sink`,
`recap` and the limits in `handover_timing`; the rest is internal.
"""
