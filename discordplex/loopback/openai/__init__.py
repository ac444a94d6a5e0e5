"""An OpenAI-compatible server without a model: chat, transcription, speech and the list of models, with faults on demand.

Start with `server.py`. Others import `StandInOpenAI`, its faults and its log.
"""
