"""discordplex: people in a Discord voice channel talk with a speech AI.

The packages, from top to bottom. Imports go down only (checked by `tests/test_architecture.py`). `docs/architecture.md` says where
things are.

    cli, verbs   the command line
    app          the composition root: the only module that knows every concrete class
    demo         a whole call on this machine, with its live view and picture
    doctor       checks of what `run` needs, each with what to do
    loopback     local Discord, PersonaPlex and OpenAI servers for tests and the demo
    monitoring   the bot seen from outside: metrics, health checks, the status page
    bot          the Discord application on py-cord: events, commands, captions; it decides when a call exists
    cluster      several processes, one bot: shards, engine slots and the queue, in one PostgreSQL database
    bridge       the sound of a call: people -> engine, engine -> people
    store        settings that survive a restart
    voice        Discord's voice: voice gateway, RTP, encryption, packet loss
    personaplex  an engine: NVIDIA's PersonaPlex over WebSocket
    cascade      an engine: speech recognition, chat model, synthetic voice
    hearing      speech to words, for each speaker separately: for the cascade, and beside other engines
    engine       the interface of every engine; engine_slots: which process may use which engine
    queue_order  who is next, over all processes
    overview     what the bot tells of itself at one moment
    services     servers with the OpenAI-compatible API: clients, limits, failures
    audio        formats, codecs, buffers
    config       the settings
    network      how every client reaches a server: proxies and certificates
    metrics, clock, logs, errors, redact, and small helpers: retry, token_bucket, fifo, cancellable, bounded, plaintext
"""

__version__ = "0.1.0"
