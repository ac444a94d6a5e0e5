"""An engine that listens, transcribes, thinks and speaks through the OpenAI-compatible API.

Start with `provider.py` (leases), then `engine.py` and `dialogue.py` (one conversation). Others import `provider`; `doctor` also `clients`,
`detector`, `faults` and `models`.
"""
