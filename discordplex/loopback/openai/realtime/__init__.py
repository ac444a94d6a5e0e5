"""A realtime server without a model: OpenAI's Realtime protocol over WebSocket, with faults on demand.

Start with `server.py`. The official SDK's types judge every event, in both directions. Others import `RealtimeServer`, its faults, its log
and the replies.
"""
