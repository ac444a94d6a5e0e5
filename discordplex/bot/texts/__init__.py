"""Every sentence that a person may read, by subject, and what makes foreign text harmless. Pure.

Import this package and name the subject: `texts.calls.hello(...)`.
"""

from discordplex.bot.texts import calls, markdown, personas, privacy, settings, waiting

__all__ = ["calls", "markdown", "personas", "privacy", "settings", "waiting"]
