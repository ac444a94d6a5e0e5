"""StoredPreferences: what is in force for a guild, a person, a call. The store over the configuration, kept at hand in memory."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

import structlog
from typing_extensions import Self

from discordplex.bot.rules import CaptionsPlace, Rules
from discordplex.bot.settings.write_behind import EVERYTHING, Key, WriteBehind
from discordplex.bounded import drop_oldest
from discordplex.clock import Clock, SystemClock
from discordplex.config import Config
from discordplex.engine import EngineProvider, Persona
from discordplex.errors import StoreError
from discordplex.retry import Backoff
from discordplex.store.personas import PER_OWNER, key
from discordplex.store.records import (
    Deleted,
    GuildSettings,
    Owner,
    PersonSettings,
    SavedPersona,
    SaveStatus,
    StoredAboutPerson,
    UnfinishedNotice,
)
from discordplex.store.store import Store

log = structlog.get_logger()

MOST_PEOPLE = 1000
"""People whose settings are kept at hand, a kilobyte each; who was asked for longest ago makes room."""


MOST_CHANGES = 20
"""Changes to one guild or person, whose settings were never read, that wait while the database is away."""

NOTICE_BYTES = 200
"""What an unfinished notice takes while it waits for the database."""

CHECK_S = 1.0
LONGEST_CHECK_S = 30.0
"""Pauses between tries to open a database that could not be opened, and to empty a journal that could not be emptied."""

T = TypeVar("T", GuildSettings, PersonSettings)
Change: TypeAlias = Callable[[T], T]


class StoredPreferences:
    """Settings of guilds and people. All methods: the event loop's thread.

    `load` it before the first call, and `learn` each guild before anything is decided there. `changed` is called after every change that
    a call must follow, also one that another process made.

    Every change holds in memory as soon as its method is called, and is saved afterwards, also when nobody awaits what the method gives:
    how the change stands. While the database is away it waits there, and `SaveStatus.saved` is False. Only where the database will never
    take it, or too many changes wait, is StoreError raised, with a sentence for people, and then nothing has changed.
    Where the database fails, reading gives what is known already, else the configuration.
    `async with` it while the bot runs: then a database that was away is opened again by itself.
    """

    def __init__(self, *, config: Config, provider: EngineProvider, store: Store, clock: Clock | None = None) -> None:
        self.store = store
        self.changed: Callable[[], None] = lambda: None
        self.forgetting: set[Callable[[Owner, str | None], None]] = set()
        """Called at once when a person or guild, or the transcript of one call in a guild, is to be forgotten: whoever holds something
        of theirs in memory drops it."""
        self.opt_outs_known = True
        """Whether who opted out earlier could be read, from whatever state the database is in; `load` finds out."""
        self._clock = clock or SystemClock()
        self._provider = provider
        self._configured = Rules.configured(config.bot)
        self._default = Persona(voice=config.default_persona.voice, text_prompt=config.default_persona.text_prompt)
        self._behind = WriteBehind(self._clock, self._recover)
        self._recovering = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._changed_elsewhere = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        # What the store says, and what waits to be saved: the second holds over the first.
        self._read_opted_out: frozenset[int] = frozenset()
        self._saved_wishes: dict[int, bool] | None = None
        self._wishes: dict[int, bool] = {}
        self._opted_out: frozenset[int] = frozenset()
        self._guilds: dict[int, GuildSettings] = {}
        self._unread: set[int] = set()
        self._guild_changes: dict[int, tuple[Change[GuildSettings], ...]] = {}
        self._people: dict[int, PersonSettings] = {}
        self._person_changes: dict[int, tuple[Change[PersonSettings], ...]] = {}
        self._personas: dict[Owner, dict[str, SavedPersona | None]] = {}

    async def __aenter__(self) -> Self:
        self._spawn(self._keep_up())
        self._spawn(self._watch())
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Save what waits, for a moment."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await self._behind.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What is in force

    @property
    def opted_out(self) -> frozenset[int]:
        """Who is never to be heard, in any guild."""
        return self._opted_out

    def knows(self, guild_id: int) -> bool:
        """Whether `learn` has come back for this guild."""
        return guild_id in self._guilds

    @property
    def waiting(self) -> int:
        """How many changes are not saved yet."""
        return len(self._behind)

    def guild(self, guild_id: int) -> GuildSettings:
        """What the guild's admins decided, as far as it is known."""
        return applied(self._guild_changes.get(guild_id, ()), self._guilds.get(guild_id) or GuildSettings(guild_id))

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
            forgetful=not self.opt_outs_known,
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
        """What the person decided; of what is stored nothing, where the database does not answer."""
        found = self._people.get(user_id)
        if found is None:
            found = PersonSettings(user_id, opted_out=user_id in self._opted_out)
            if not self._behind.holds(EVERYTHING, Owner("person", user_id)):
                try:
                    found = await self.store.people.get(user_id)
                except StoreError as fault:
                    log.warning("settings of a person not read", cause=fault.full)
                else:
                    self._keep(found)
        settings = applied(self._person_changes.get(user_id, ()), found)
        return replace(settings, opted_out=user_id in self._opted_out)

    async def personas(self, owner: Owner) -> tuple[SavedPersona, ...]:
        """An owner's saved personas, by name, those that wait to be saved among them. Raises StoreError where they cannot be read."""
        waiting = self._personas.get(owner, {})
        gone = self._behind.holds(EVERYTHING, owner)
        stored = () if gone else await self.store.personas.list(owner)
        found = {key(one.name): one for one in stored} | waiting
        return tuple(one for _, one in sorted(found.items()) if one)

    # What is read before

    async def load(self) -> None:
        """Read who is not to be heard; it holds from the first packet on. Where nobody can say, `opt_outs_known` is False."""
        async with self._loading:
            self._saved_wishes = {}
            try:
                found = await self.store.opted_out()
            except StoreError as fault:
                log.warning("opt-outs not read", cause=fault.full)
                self.opt_outs_known = False
                return
            finally:
                meanwhile, self._saved_wishes = self._saved_wishes, None
        found = with_wishes(found, meanwhile)
        if not self.store.shared:
            # Nobody else takes wishes back: who is missing is so because the file is an older one.
            for user_id in self._read_opted_out - found - self._wishes.keys():
                self._wish(user_id, out=True)
        self._read_opted_out = found
        if not self.opt_outs_known:
            self.opt_outs_known = True
            self.changed()
        self._weigh_wishes()

    async def learn(self, guild_id: int) -> None:
        """Read a guild's settings, unless that was done. Where it fails the configuration holds there, until the next call of this."""
        if guild_id not in self._guilds or guild_id in self._unread:
            try:
                await self.read_guild(guild_id)
            except StoreError as fault:
                self._unread.add(guild_id)
                self._guilds.setdefault(guild_id, GuildSettings(guild_id))
                log.warning("settings of a guild not read", guild=guild_id, cause=fault.full)

    async def read_guild(self, guild_id: int) -> None:
        """Read a guild's settings. Raises StoreError."""
        if not self._behind.holds(EVERYTHING, Owner("guild", guild_id)):
            self._guilds[guild_id] = await self.store.guilds.get(guild_id)
        self._unread.discard(guild_id)

    # What people change

    def change_guild(self, guild_id: int, change: Change[GuildSettings]) -> Awaitable[SaveStatus]:
        """Make of a guild's settings what `change` does."""
        before = self._guild_changes.get(guild_id, ())
        known = guild_id in self._guilds and guild_id not in self._unread
        self._guild_changes[guild_id] = added(before, change, self.guild(guild_id) if known else None)
        try:
            self.guild(guild_id)
            standing = self._behind.put(
                Key("settings", Owner("guild", guild_id)), functools.partial(self._save_guild, guild_id), as_it_stands
            )
        except Exception:
            self._guild_changes[guild_id] = before
            raise
        self.changed()
        return standing

    def change_person(self, user_id: int, change: Change[PersonSettings]) -> Awaitable[SaveStatus]:
        """Make of a person's settings what `change` does; whether they are heard is not among them."""
        before, known = self._person_changes.get(user_id, ()), self._people.get(user_id)
        self._person_changes[user_id] = added(before, change, known and applied(before, known))
        try:
            return self._behind.put(Key("settings", Owner("person", user_id)), functools.partial(self._save_person, user_id), as_it_stands)
        except StoreError:
            self._person_changes[user_id] = before
            raise

    def change_personas(self, owner: Owner, changes: Mapping[str, SavedPersona | None]) -> Awaitable[SaveStatus]:
        """Keep or (None) delete personas by the `store.personas.key` of their names, all or none."""
        before = self._personas.get(owner, {})
        if len(before.keys() | changes.keys()) > 2 * PER_OWNER:
            raise StoreError("The persona was not saved: too many changes wait for the database already.")
        self._personas[owner] = {**before, **changes}
        try:
            size = sum(4 * len(one.persona.text_prompt) for one in self._personas[owner].values() if one)
            return self._behind.put(Key("personas", owner), functools.partial(self._save_personas, owner), as_it_stands, size=size)
        except StoreError:
            self._personas[owner] = before
            raise

    def silence(self, user_id: int) -> Awaitable[SaveStatus]:
        """Never hear this person again, from this moment on. It is saved by itself; how it stands."""
        return self._wish(user_id, out=True)

    def listen(self, user_id: int) -> Awaitable[SaveStatus]:
        """This person may be heard again."""
        return self._wish(user_id, out=False)

    def forget(self, user_id: int) -> Awaitable[Deleted]:
        """Delete what is stored about a person, but for a wish not to be heard."""
        owner = Owner("person", user_id)
        self._behind.drop(owner)
        self._person_changes.pop(user_id, None)
        self._people.pop(user_id, None)
        self._personas.pop(owner, None)
        return self._delete(owner, EVERYTHING, None, lambda: self.store.privacy.forget(user_id))

    def forget_guild(self, guild_id: int) -> Awaitable[Deleted]:
        """Delete what is stored about a guild."""
        owner = Owner("guild", guild_id)
        self._behind.drop(owner)
        self._guild_changes.pop(guild_id, None)
        self._guilds.pop(guild_id, None)
        self._personas.pop(owner, None)
        return self._delete(owner, EVERYTHING, None, lambda: self.store.privacy.forget_guild(guild_id))

    def forget_transcripts(self, guild_id: int, call: str | None = None) -> Awaitable[Deleted]:
        """Delete the transcript of one call of a guild, or (None) of all."""
        what = "transcripts" if call is None else f"transcript {call}"
        return self._delete(Owner("guild", guild_id), what, call, lambda: self.store.transcripts.delete(guild_id, call))

    def remember_notice(self, notice: UnfinishedNotice) -> None:
        """Save that a message says that a call goes on."""
        self._save_notice(notice, functools.partial(self.store.notices.add, notice))

    def forget_notice(self, notice: UnfinishedNotice) -> None:
        """Save that it does not any more."""
        self._save_notice(notice, functools.partial(self.store.notices.remove, notice.message_id))

    async def forget_guilds_but(self, present: Iterable[int], is_gone: Callable[[int], Awaitable[bool]]) -> None:
        """Delete what is stored about guilds that threw the bot out while it was not looking.

        `present` are all that it is in, those that are unavailable too. `is_gone` asks Discord about each of the others, and answers
        False where that is not certain.
        """
        try:
            missing = await self.store.privacy.guilds() - frozenset(present)
        except StoreError as fault:
            log.warning("removed guilds not read", cause=fault.full)
            return
        for guild_id in sorted(missing):
            if await is_gone(guild_id):
                log.info("settings of a removed guild deleted", guild=guild_id)
                await self.forget_guild(guild_id)

    # How it is saved

    def _wish(self, user_id: int, *, out: bool) -> Awaitable[SaveStatus]:
        self._wishes[user_id] = out
        self._people.pop(user_id, None)
        self._weigh_wishes()
        return self._behind.put(
            Key("heard", Owner("person", user_id)), functools.partial(self._save_wish, user_id), as_it_stands, urgent=True
        )

    def _weigh_wishes(self) -> None:
        """Who is not to be heard: what is stored, and what was wished since."""
        before = self._opted_out
        self._opted_out = with_wishes(self._read_opted_out, self._wishes)
        if self._opted_out != before:
            self.changed()

    async def _save_wish(self, user_id: int) -> bool:
        out = self._wishes.get(user_id)
        if out is None:
            return True  # it was saved with an earlier one
        await (self.store.people.opt_out if out else self.store.people.opt_in)(user_id)
        self._read_opted_out = with_wishes(self._read_opted_out, {user_id: out})
        if self._saved_wishes is not None:
            self._saved_wishes[user_id] = out
        if self._wishes.get(user_id) is out:
            del self._wishes[user_id]
        self._people.pop(user_id, None)
        self._weigh_wishes()
        return True

    async def _save_guild(self, guild_id: int) -> bool:
        changes = self._guild_changes.get(guild_id, ())
        try:
            settled = await self.store.guilds.change(guild_id, functools.partial(applied, changes))
        except Exception as fault:
            if is_final(fault):
                self._guild_changes.pop(guild_id, None)
                self.changed()
            raise
        if self._behind.holds(EVERYTHING, Owner("guild", guild_id)):
            return True  # it is deleted next
        self._guilds[guild_id] = settled
        self._unread.discard(guild_id)
        if self._guild_changes.get(guild_id) is changes:
            del self._guild_changes[guild_id]
        self.changed()
        return not self.store.unclean

    async def _save_person(self, user_id: int) -> bool:
        changes = self._person_changes.get(user_id, ())
        try:
            settled = await self.store.people.change(user_id, lambda now: replace(applied(changes, now), opted_out=now.opted_out))
        except Exception as fault:
            if is_final(fault):
                self._person_changes.pop(user_id, None)
            raise
        if self._behind.holds(EVERYTHING, Owner("person", user_id)):
            return True  # it is deleted next
        self._keep(settled)
        if self._person_changes.get(user_id) is changes:
            del self._person_changes[user_id]
        return not self.store.unclean

    async def _save_personas(self, owner: Owner) -> bool:
        changes = self._personas.get(owner, {})
        try:
            await self.store.personas.apply(owner, changes)
        except Exception as fault:
            if is_final(fault):
                self._personas.pop(owner, None)
            raise
        if self._personas.get(owner) is changes:
            del self._personas[owner]
        return not self.store.unclean

    def _save_notice(self, notice: UnfinishedNotice, save: Callable[[], Awaitable[None]]) -> None:
        async def write() -> bool:
            await save()
            return True

        with contextlib.suppress(StoreError):  # too much waits already; a process that is killed before it is saved leaves the message
            about = Key(f"notice {notice.message_id}", Owner("guild", notice.guild_id))
            self._behind.put(about, write, as_it_stands, size=NOTICE_BYTES)

    def _delete(
        self, owner: Owner, what: str, call: str | None, delete: Callable[[], Awaitable[StoredAboutPerson | int | None]]
    ) -> Awaitable[Deleted]:
        found: list[StoredAboutPerson | int | None] = []
        for forget in self.forgetting:
            forget(owner, call)

        async def save() -> bool:
            found.append(await delete())
            return not self.store.unclean

        def deleted(standing: SaveStatus) -> Deleted:
            result = found[-1] if standing.saved and found else None
            stored, lines = (result, None) if isinstance(result, StoredAboutPerson) else (None, result)
            return Deleted(standing, stored, lines)

        return self._behind.put(Key(what, owner), save, deleted, urgent=True)

    # While the bot runs

    async def _recover(self) -> None:
        """Open the database again, and read again who is not to be heard. Raises StoreError."""
        async with self._recovering:
            await self.store.recover()
            await self.load()

    async def _keep_up(self) -> None:
        """Take a database back that could not be opened, and empty a journal that somebody read."""
        pause_s, backoff = CHECK_S, Backoff(2 * CHECK_S, LONGEST_CHECK_S)
        while True:
            await self._clock.sleep_until(self._clock.now() + pause_s)
            try:
                if self.store.problem is not None or self.store.moved:
                    await self._recover()
                    log.info("database available again")
                if not self.opt_outs_known:
                    await self.load()
                if self.store.unclean:
                    await self.store.scrub()
            except StoreError:
                pass
            failing = self.store.problem is not None or self.store.unclean or not self.opt_outs_known
            if failing:
                pause_s = backoff.failed()
            else:
                pause_s = CHECK_S
                backoff.reset()

    async def _watch(self) -> None:
        """Follow what other processes change about people."""
        async with self.store.watched(self._clock, self._other_process_changed):
            while True:
                await self._changed_elsewhere.wait()
                self._changed_elsewhere.clear()
                await self.load()

    def _other_process_changed(self, forgotten: int | None) -> None:
        self._people.clear()
        if forgotten is None:
            self._changed_elsewhere.set()
        else:
            for forget in self.forgetting:
                forget(Owner("person", forgotten), None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="bot:preferences")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self, settings: PersonSettings) -> None:
        self._people.pop(settings.user_id, None)
        self._people[settings.user_id] = settings
        drop_oldest(self._people, MOST_PEOPLE)


def is_final(fault: Exception) -> bool:
    """Whether the database will never take a change that failed with this."""
    return not (isinstance(fault, StoreError) and fault.retry)


def as_it_stands(standing: SaveStatus) -> SaveStatus:
    """Nothing else is to be told."""
    return standing


def with_wishes(opted_out: frozenset[int], wishes: Mapping[int, bool]) -> frozenset[int]:
    """Who is not to be heard after these wishes (True: not to be heard)."""
    return (opted_out - wishes.keys()) | {user_id for user_id, out in wishes.items() if out}


def added(before: tuple[Callable[[T], T], ...], change: Callable[[T], T], now: T | None) -> tuple[Callable[[T], T], ...]:
    """The changes that wait, with one more; as a single one where the settings as they are `now`, with those before, are known.

    Raises StoreError where too many wait.
    """
    if before and now is not None:
        settled = change(now)
        return (lambda _: settled,)
    if len(before) >= MOST_CHANGES:
        raise StoreError("The setting was not saved: too many changes wait for the database already.")
    return before + (change,)  # noqa: RUF005 - mypy loses the type of the other way


def applied(changes: Iterable[Callable[[T], T]], settings: T) -> T:
    """What the changes make of the settings, one after the other."""
    return functools.reduce(lambda now, change: change(now), changes, settings)
