"""Everything discordplex raises on purpose.

* DiscordplexError: `str(error)` is one plain sentence for a newcomer: what happened and what to do. It names no path and no address of the
  operator's, since it may be read on Discord; `full` is the same for the operator, with them.
    * ConfigError: the command line or the configuration is wrong (exit code 2).
    * LoginError: Discord refuses the bot token (exit code 1).
    * EngineError: an engine cannot take or keep a call; `retry` tells whether trying again can help.
    * RefusedError: what somebody asked of the bot is not theirs to ask, or came too soon after the last time.
    * StoreError: a setting was not saved or not read. The call goes on; the person is told.
    * VoiceError: Discord's voice side refused or lost us; `code` is the close code where there is one.
    * ProtocolError: bytes that break a protocol.
        * LocalProtocolError: we misused it. A bug of ours: let the session fail.
        * RemoteProtocolError: the peer did. Count it, drop it, go on.
"""


class DiscordplexError(Exception):
    """A failure that a person may read: `str()` says what happened and what to do."""

    def __init__(self, message: str = "", *, full: str = "") -> None:
        """`message` is a sentence for everybody; `full` the one for consoles, logs and the doctor, with paths and addresses."""
        super().__init__(message)
        self.full = full or message


class ConfigError(DiscordplexError):
    """The command line or the configuration is wrong."""


class LoginError(DiscordplexError):
    """Discord refuses the bot token, or refuses it from now on."""


class EngineError(DiscordplexError):
    """An engine cannot take or keep a call."""

    def __init__(self, message: str, *, retry: bool = True, cause: str = "") -> None:
        """`message` is a sentence for people; `retry` is False where the same request can never succeed; `cause` is a code for logs."""
        super().__init__(message)
        self.retry = retry
        self.cause = cause


class RefusedError(DiscordplexError):
    """What somebody asked of the bot is not theirs to ask, or came too soon after the last time."""


class StoreError(DiscordplexError):
    """A setting was not saved or not read: the sentence says which of it, and why. A call goes on all the same."""

    def __init__(self, message: str, *, retry: bool = False, why: str = "", full: str = "") -> None:
        """`message` is a sentence for people; `retry` is True where the same request may succeed later, as when the database is away.

        `why` is a sentence that may be told to others than who asked: it does not say what was asked for. `full` is for the operator.
        """
        super().__init__(message, full=full)
        self.retry = retry
        self.why = why or message


class VoiceError(DiscordplexError):
    """Discord's voice side refused or lost us."""

    def __init__(self, message: str, *, code: int | None = None) -> None:
        """`message` is a sentence for people; `code` the voice gateway's close code, None where there was none."""
        super().__init__(message)
        self.code = code


class ProtocolError(DiscordplexError):
    """Bytes that break a protocol; the subclass says whose fault."""


class LocalProtocolError(ProtocolError):
    """We did what the protocol does not allow in this phase: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer sent what the protocol does not allow: count it, drop it, go on."""
