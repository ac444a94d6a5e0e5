"""ENGINE: the OpenAI Realtime protocol and its dialects, over one WebSocket for each session.

Start at `engine.py`, one session after another, then `session.py`, the turns in one: `utterances.py` is what people say, `replies.py` what
the engine says. `protocol.py` is the protocol without IO, `dialects.py` what differs between services. Others import `provider.py`, and
import it only where it is used.
"""
