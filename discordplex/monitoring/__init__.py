"""The bot seen from outside: `/metrics`, `/healthz`, `/readyz` and the status page.

Nothing of it is imported until `monitoring.listen` is set. `service.py` is the door: `monitoring` listens, and `app.py` gives it the bot.
The doctor also uses `access.py`. Others import nothing from here.
"""
