"""`make load`: how many calls one process carries, and how its memory and processor time grow with calls, people and guilds.

`conduct.py` adds call after call to the real bot, `scene.py` is the light Discord and the light engines around it, `sizing.py` concludes.
"""
