"""An engine that listens, transcribes, thinks and speaks through the OpenAI-compatible API.

Start with `provider.py` (leases), then `engine.py` and `dialogue.py` (one conversation). `app.py` imports `provider`, `doctor` also
`clients`, `models` and `service`; nothing else is for other packages.
"""
