"""What exists in this Discord, and who may see it. Pure.

`world.py` changes it, `model.py` and `directory.py` hold it, `payloads.py` shows it as JSON. Every other part reads it from here.
"""
