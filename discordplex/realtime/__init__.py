"""ENGINE: the OpenAI Realtime protocol and its dialects, over one WebSocket for each session.

Start at `engine.py`; `protocol.py` is the protocol without IO, `dialects.py` what differs between services. Others import
`provider.py`, and import it only where it is used.
"""
