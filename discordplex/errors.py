"""Everything discordplex raises on purpose.

* DiscordplexError: `str(error)` is one plain sentence for a newcomer: what happened and what to do. It has no path and no address of the
  operator, because it may be posted on Discord; `full` is the sentence for the operator, with them.
    * ConfigError: the command line or the configuration is wrong (exit code 2).
    * LoginError: Discord refuses the bot token (exit code 1).
    * EngineError: an engine cannot take or keep a call; `retry` says whether another try can help.
    * RefusedError: somebody may not use a command, or used it too often.
    * StoreError: a setting was not saved or not read. Calls continue; the person is told.
    * VoiceError: Discord's voice server refused the bot, or the connection was lost; `code` is the close code, if there is one.
    * ProtocolError: a message breaks a protocol.
        * LocalProtocolError: our own code breaks it. This is a bug: let the session fail.
        * RemoteProtocolError: the peer breaks it. Count it, drop it, go on.
"""


class DiscordplexError(Exception):
    """A failure that a person may read: `str()` says what happened and what to do."""

    def __init__(self, message: str = "", *, full: str = "") -> None:
        """`message` is the sentence for everybody; `full` is the one for consoles, logs and the doctor, with paths and addresses."""
        super().__init__(message)
        self.full = full or message


class ConfigError(DiscordplexError):
    """The command line or the configuration is wrong."""


class LoginError(DiscordplexError):
    """Discord refuses the bot token, at the start or later."""


class EngineError(DiscordplexError):
    """An engine cannot take or keep a call."""

    def __init__(self, message: str, *, retry: bool = True, cause: str = "") -> None:
        """`message` is a sentence for people; `retry` is False if the same request can never succeed; `cause` is a code for logs."""
        super().__init__(message)
        self.retry = retry
        self.cause = cause


class RefusedError(DiscordplexError):
    """Somebody may not use a command, or used it too often."""


class StoreError(DiscordplexError):
    """A setting was not saved or not read: the sentence says which of the two, and why. Calls continue."""

    def __init__(self, message: str, *, retry: bool = False, why: str = "", full: str = "") -> None:
        """`message` is a sentence for people; `retry` is True if the same request may succeed later, when the database works again.

        `why` is a sentence for people other than the one who asked: it does not say what was asked for. `full` is for the operator.
        """
        super().__init__(message, full=full)
        self.retry = retry
        self.why = why or message


class VoiceError(DiscordplexError):
    """Discord's voice server refused the bot, or the connection was lost."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        """`message` is a sentence for people; `code` is the voice gateway's close code, or None."""
        super().__init__(message)
        self.code = code


class ProtocolError(DiscordplexError):
    """A message breaks a protocol; the subclass says whose fault it is."""


class LocalProtocolError(ProtocolError):
    """Our own code did what the protocol does not allow in this phase: a bug."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow: count it, drop it, go on."""
