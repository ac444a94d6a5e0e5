"""What people and guilds have chosen, over what the configuration says.

`preferences.py` answers what holds for a guild or a person; `personas.py` keeps saved personas.
"""
