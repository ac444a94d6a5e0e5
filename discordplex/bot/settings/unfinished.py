"""StoredUnfinishedNotices: remembers messages that say that a call is running, so that they are edited even if the process is killed."""

from collections.abc import Callable

import structlog

from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.bounded import drop_oldest
from discordplex.errors import StoreError
from discordplex.store.notices import MOST_NOTICES
from discordplex.store.records import UnfinishedNotice

log = structlog.get_logger()


class StoredUnfinishedNotices:
    """An `UnfinishedNotices`: those of one login, and those of earlier logins and processes of the same bot. Thread: loop.

    They are saved in the background, like settings.
    """

    def __init__(self, preferences: StoredPreferences) -> None:
        self._preferences = preferences
        self._bot_id: int | None = None
        self._open: dict[int, UnfinishedNotice] = {}
        self._interrupted: dict[int, UnfinishedNotice] = {}

    async def load(self, covers: Callable[[int], bool] = lambda _: True) -> None:
        """Read the old notices of these guilds. Call it before their login, so that none of its own are among them."""
        try:
            found = await self._preferences.store.notices.list()
        except StoreError as fault:
            log.warning("messages of earlier calls are not known", cause=fault.full)
            return
        self._interrupted |= {notice.message_id: notice for notice in found if covers(notice.guild_id)}

    def release(self, covers: Callable[[int], bool]) -> None:
        """Another process has these guilds now, and edits their notices."""
        for notices in (self._open, self._interrupted):
            for message_id in [message_id for message_id, notice in notices.items() if covers(notice.guild_id)]:
                del notices[message_id]

    def logged_in(self, bot_id: int) -> None:
        """Set the id of this bot."""
        self._bot_id = bot_id

    @property
    def interrupted(self) -> tuple[UnfinishedNotice, ...]:
        """The messages of earlier logins of this bot. Edit each, then call `ended`."""
        return tuple(notice for notice in self._interrupted.values() if notice.bot_id == self._bot_id)

    def began(self, guild_id: int, channel_id: int, message_id: int) -> None:
        """This message says that a call is running. Calling it again for the same message does nothing."""
        if self._bot_id is None or message_id in self._open:
            return
        self._open[message_id] = notice = UnfinishedNotice(message_id, channel_id, guild_id, self._bot_id)
        self._preferences.remember_notice(notice)
        drop_oldest(self._open, MOST_NOTICES)

    def ended(self, message_id: int) -> None:
        """The message no longer says so, or is gone."""
        notice = self._open.pop(message_id, None) or self._interrupted.pop(message_id, None)
        if notice:
            self._preferences.forget_notice(notice)
