"""An engine that listens, transcribes, thinks and speaks through the OpenAI-compatible API.

Start with `provider.py` (leases), then `engine.py` and `dialogue.py` (one conversation). Its first stages are in `hearing`, its servers in
`services`. Others import `provider`.
"""
