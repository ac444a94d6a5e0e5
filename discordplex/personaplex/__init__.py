"""One engine: NVIDIA PersonaPlex, over its WebSocket dialect."""
