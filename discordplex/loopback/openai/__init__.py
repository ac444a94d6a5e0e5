"""An OpenAI-compatible server with no model in it: the real shapes of chat, transcription, speech and models, faults on demand, and a log.

The official SDK is its independent client in the tests.
"""
