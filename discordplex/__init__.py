"""discordplex: the people in a Discord voice channel talk with a speech AI as they talk with each other.

The rooms, from the top of the house down (imports go down only, `tests/test_architecture.py` holds it):

    cli         parse, delegate, exit code
    app         the composition root: the one module that knows every concrete class
    demo        a whole call on this machine, its live view and its pictures
    doctor      checks, each with its mend
    loopback    Discord and PersonaPlex without either, on 127.0.0.1
    bot         the Discord application: when a call exists
    bridge      a call: people -> engine, engine -> people
    voice       one wire: Discord's voice gateway, RTP, encryption
    personaplex the other wire: NVIDIA's dialect
    cascade     another engine: listen, transcribe, think, speak
    store       settings that outlive a restart
    cascade     another engine: listen, transcribe, think, speak
    engine      the port every engine stands behind
    audio       what flows between: frames, codecs, buffers
    network     how every client reaches a server: proxies and certificates
    config, metrics, clock, errors
"""

__version__ = "0.1.0"
