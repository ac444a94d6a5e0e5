"""The choices of people and guilds, on top of the configuration.

`preferences.py` gives the settings of a guild or a person, from memory; `write_behind.py` saves changes; `personas.py` has saved personas.
"""
