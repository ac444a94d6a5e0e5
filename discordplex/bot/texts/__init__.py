"""Every sentence that people read, by subject. Pure.

    calls      the greeting, the engine, joining and leaving, /status, /latency
    waiting    the queue ("I am busy ..."), time limits, stages, who may do what
    personas   /persona and /voice
    privacy    /privacy and its buttons
    settings   /settings
    notes      what is posted when a call has ended
    markdown   makes foreign text harmless and cuts long texts

Import this package and name the subject: `texts.calls.hello(...)`. `docs/troubleshooting.md` explains each sentence.
"""

from discordplex.bot.texts import calls, markdown, notes, personas, privacy, settings, waiting

__all__ = ["calls", "markdown", "notes", "personas", "privacy", "settings", "waiting"]
