"""StoredPreferences: what is in force for a guild, a person, a call. The store over the configuration, kept at hand in memory."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from discordplex.bot.rules import CaptionsPlace, Rules
from discordplex.config import Config
from discordplex.engine import EngineProvider, Persona
from discordplex.errors import StoreError
from discordplex.store.records import GuildSettings, PersonSettings, StoredAboutPerson
from discordplex.store.store import Store

log = structlog.get_logger()

MOST_PEOPLE = 1000
"""People whose settings are kept at hand, a kilobyte each; who was asked for longest ago makes room."""


class StoredPreferences:
    """Settings of guilds and people. All methods: the event loop's thread.

    `load` it before the first call, and `learn` each guild before anything is decided there. `changed` is called after every change that
    a call must follow. Where the database fails, reading gives what is known already, else the configuration; changing raises StoreError
    with a sentence for people, and nothing has changed. Only a wish not to be heard holds all the same, as long as the process lives.
    """

    def __init__(self, *, config: Config, provider: EngineProvider, store: Store) -> None:
        self.store = store
        self.changed: Callable[[], None] = lambda: None
        self._provider = provider
        self._configured = Rules.configured(config.bot)
        self._default = Persona(voice=config.default_persona.voice, text_prompt=config.default_persona.text_prompt)
        self._opted_out: frozenset[int] = frozenset()
        self._guilds: dict[int, GuildSettings] = {}
        self._unread: set[int] = set()
        self._people: dict[int, PersonSettings] = {}

    # What is in force

    @property
    def opted_out(self) -> frozenset[int]:
        """Who is never to be heard, in any guild."""
        return self._opted_out

    def knows(self, guild_id: int) -> bool:
        """Whether `learn` has come back for this guild."""
        return guild_id in self._guilds

    def guild(self, guild_id: int) -> GuildSettings:
        """What the guild's admins decided, as far as it is known."""
        return self._guilds.get(guild_id) or GuildSettings(guild_id)

    def rules(self, guild_id: int) -> Rules:
        """What holds in a guild now: its admins' word, else the configuration's. What the configuration denies stays denied."""
        own, base = self.guild(guild_id), self._configured
        return replace(
            base,
            captions=CaptionsPlace(own.captions.where, own.captions.channel_id) if own.captions else base.captions,
            allow_channels=own.allowed_channels or base.allow_channels,
            deny_channels=own.denied_channels | base.deny_channels,
            allow_roles=own.allowed_roles or base.allow_roles,
            deny_roles=own.denied_roles | base.deny_roles,
            idle_minutes=base.idle_minutes if own.idle_minutes is None else own.idle_minutes,
            # The operator's time box is there for the other servers: a server may make its own shorter, not longer.
            max_minutes=min((minutes for minutes in (base.max_minutes, own.max_minutes) if minutes), default=0),
            transcripts=own.transcripts,
            captions_of_people=base.captions_of_people if own.captions_of_people is None else own.captions_of_people,
            forgetful=self.store.problem is not None,
        )

    def guild_persona(self, guild_id: int) -> Persona:
        """Who the engine is for people who chose nobody: the guild's choice over the configuration's, where the engine takes it."""
        wanted = self.guild(guild_id).choice.over(self._default)
        return self._default if self.refusal(wanted) else wanted

    async def persona(self, guild_id: int, person_id: int | None) -> Persona:
        """Who the engine shall be in a call that this person (None: nobody in particular) began. The engine takes it.

        A choice that was good for an engine which is no longer configured is passed over.
        """
        default = self.guild_persona(guild_id)
        if person_id is None:
            return default
        wanted = (await self.person(person_id)).choice.over(default)
        return default if self.refusal(wanted) else wanted

    def refusal(self, persona: Persona) -> str | None:
        """Why the engine would refuse this persona, as a plain sentence; None where it would not."""
        return self._provider.check(persona.voice, persona.text_prompt)

    async def person(self, user_id: int) -> PersonSettings:
        """What the person decided; nothing, where the database does not answer."""
        found = self._people.get(user_id)
        if found is None:
            try:
                found = await self.store.people.get(user_id)
            except StoreError as fault:
                log.warning("a person's settings are not known", why=str(fault))
                return PersonSettings(user_id, opted_out=user_id in self._opted_out)
            self._keep(found)
        return found

    # What is read before

    async def load(self) -> None:
        """Read who is not to be heard; it holds from the first packet on. Raises StoreError."""
        self._opted_out = await self.store.people.opted_out()

    async def learn(self, guild_id: int) -> None:
        """Read a guild's settings, unless that was done. Where it fails the configuration holds there, until the next call of this."""
        if guild_id not in self._guilds or guild_id in self._unread:
            try:
                await self.read_guild(guild_id)
            except StoreError as fault:
                self._unread.add(guild_id)
                self._guilds.setdefault(guild_id, GuildSettings(guild_id))
                log.warning("a guild's settings are not known", guild=guild_id, why=str(fault))

    async def read_guild(self, guild_id: int) -> None:
        """Read a guild's settings. Raises StoreError."""
        self._guilds[guild_id] = await self.store.guilds.get(guild_id)
        self._unread.discard(guild_id)

    # What people change

    async def change_guild(self, guild_id: int, change: Callable[[GuildSettings], GuildSettings]) -> None:
        """Save what `change` makes of a guild's settings."""
        self._guilds[guild_id] = await self.store.guilds.change(guild_id, change)
        self._unread.discard(guild_id)
        self.changed()

    async def change_person(self, user_id: int, change: Callable[[PersonSettings], PersonSettings]) -> None:
        """Save what `change` makes of a person's settings."""
        self._keep(await self.store.people.change(user_id, change))

    def silence(self, user_id: int) -> None:
        """Never hear this person again, from this moment on, until the process ends; `keep_silenced` saves it."""
        self._opted_out |= {user_id}
        self._people.pop(user_id, None)
        self.changed()

    async def keep_silenced(self, user_id: int) -> None:
        """Save that this person is not to be heard. Raises StoreError."""
        await self.store.people.opt_out(user_id)
        self._people.pop(user_id, None)

    async def listen(self, user_id: int) -> None:
        """This person may be heard again. Where that could not be saved nothing changes."""
        await self.store.people.opt_in(user_id)
        self._people.pop(user_id, None)
        self._opted_out -= {user_id}
        self.changed()

    async def forget(self, user_id: int) -> StoredAboutPerson:
        """Delete what is stored about a person, but for a wish not to be heard; what was there."""
        stored = await self.store.privacy.forget(user_id)
        self._people.pop(user_id, None)
        return stored

    async def forget_guild(self, guild_id: int) -> None:
        """Delete what is stored about a guild. Never raises: where it fails, it stays until the guild's admins delete it."""
        self._guilds.pop(guild_id, None)
        try:
            await self.store.privacy.forget_guild(guild_id)
        except StoreError as fault:
            log.warning("a guild's settings are not deleted", guild=guild_id, why=str(fault))

    def _keep(self, settings: PersonSettings) -> None:
        self._people.pop(settings.user_id, None)
        while len(self._people) >= MOST_PEOPLE:
            del self._people[next(iter(self._people))]
        self._people[settings.user_id] = settings
