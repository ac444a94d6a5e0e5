"""The demo: a whole call on this machine, with a live view, a report and a picture of the timeline.

Start with `command.py`; `scenario.py` plays the call, `live.py` shows it, `report.py` measures it.
Only `verbs.py` and tests import from here.
"""
