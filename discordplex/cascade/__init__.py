"""Another engine: listen, transcribe, think, speak, through the OpenAI-compatible API."""
