"""discordplex: the people in a Discord voice channel talk with a speech AI as they talk with each other.

The rooms, from the top of the house down (imports go down only, `tests/test_architecture.py` holds it):

    cli, verbs  parse, delegate, exit code
    app         the composition root: the one module that knows every concrete class
    demo        a whole call on this machine, its live view and its pictures
    doctor      checks, each with what to do about it
    loopback    Discord, PersonaPlex and an OpenAI server without any of them, on 127.0.0.1
    bot         the Discord application: when a call exists
    bridge      a call: people -> engine, engine -> people
    store       settings that outlive a restart
    voice       the Discord voice wire: voice gateway, RTP, encryption
    personaplex an engine: NVIDIA's dialect over WebSocket
    cascade     an engine: hear, think, speak through the OpenAI-compatible API
    engine      the port every engine stands behind
    audio       what flows between: frames, codecs, buffers
    config      the settings
    network     how every client reaches a server: proxies and certificates
    metrics, clock, logs, errors, redact, and small helpers: retry, token_bucket, fifo, bounded, plaintext
"""

__version__ = "0.1.0"
