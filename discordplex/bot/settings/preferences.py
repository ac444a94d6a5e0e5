"""StoredPreferences: the settings in force for a guild, a person, a call: the store over the configuration, cached in memory."""

import asyncio
import contextlib
import functools
import itertools
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import fields, replace
from typing import TypeAlias, TypeVar

import structlog
from typing_extensions import Self

from discordplex.bot.guild_rules import CaptionsPlace, GuildRules
from discordplex.bot.settings.write_behind import EVERYTHING, Key, WriteBehind
from discordplex.bounded import drop_oldest
from discordplex.clock import Clock, SystemClock
from discordplex.config import Config
from discordplex.engine import EngineProvider, Persona
from discordplex.errors import StoreError
from discordplex.retry import Backoff
from discordplex.store.fence import TakenOverError
from discordplex.store.guilds import MOST_AT_ONCE
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
from discordplex.store.watch import What

log = structlog.get_logger()

MOST_PEOPLE = 1000
"""The most people whose settings are cached, a kilobyte each. The least recently used is dropped."""


MOST_CHANGES = 20
"""The most changes that wait for one guild or person whose settings were never read, while the database cannot be reached."""

NOTICE_BYTES = 200
"""The size that an unfinished notice counts as while it waits for the database."""

CHECK_S = 1.0
LONGEST_CHECK_S = 30.0
"""The longest pause between tries to open the database, or to empty its journal."""

T = TypeVar("T", GuildSettings, PersonSettings)
Change: TypeAlias = Callable[[T], T]


class StoredPreferences:
    """Settings of guilds and people. All methods: the event loop's thread.

    Call `load` before the first call, and `learn` for each guild before anything is decided there. `changed` is called after every change
    that calls must follow, also after a change of another process.

    Every change applies in memory as soon as its method is called, and is saved afterwards, even if nobody awaits the result. The result
    says whether it is saved. While the database cannot be reached, the change waits, and `SaveStatus.saved` is False. StoreError, with a
    sentence for people, is raised only if the database will never accept the change, or too many changes wait; then nothing has changed.
    If the database fails, reading gives what is cached, else the configuration.
    Use it with `async with` while the bot runs: then the database is opened again by itself after a failure.
    """

    def __init__(self, *, config: Config, provider: EngineProvider, store: Store, clock: Clock | None = None) -> None:
        self.store = store
        self.changed: Callable[[], None] = lambda: None
        self.forgetting: set[Callable[[Owner, str | None], None]] = set()
        """Called at once when data of a person, a guild, or a call's transcript is deleted, so that everybody drops it from memory."""
        self.opt_outs_known = True
        """Whether earlier opt-outs could be read; set by `load`."""
        self._clock = clock or SystemClock()
        self._provider = provider
        self._configured = GuildRules.configured(config.bot, config.limits)
        self._default = Persona(voice=config.default_persona.voice, text_prompt=config.default_persona.text_prompt)
        self._behind = WriteBehind(self._clock, self._recover)
        self._recovering = asyncio.Lock()
        self._loading = asyncio.Lock()
        self._changed_elsewhere = asyncio.Event()
        self._opt_outs_changed = False
        self._guilds_changed: set[int] = set()
        self._heard = 0
        """How often another process has said something: what was read before may be old."""
        self._tasks: set[asyncio.Task[None]] = set()
        # What is stored, and what waits to be saved. The second takes precedence.
        self._read_opted_out: frozenset[int] = frozenset()
        self._saved_wishes: dict[int, bool] | None = None
        self._wishes: dict[int, bool] = {}
        self._opted_out: frozenset[int] = frozenset()
        self._guilds: dict[int, GuildSettings] = {}
        self._unread: set[int] = set()
        self._asked: set[int] = set()
        self._learning = asyncio.Lock()
        self._guild_changes: dict[int, tuple[Change[GuildSettings], ...]] = {}
        self._people: dict[int, PersonSettings] = {}
        self._person_changes: dict[int, tuple[Change[PersonSettings], ...]] = {}
        self._personas: dict[Owner, dict[str, SavedPersona | None]] = {}

    async def __aenter__(self) -> Self:
        self._spawn(self._keep_up())
        self._spawn(self._watch())
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Try to save what waits, for a moment."""
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await self._behind.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    # What is in force

    @property
    def opted_out(self) -> frozenset[int]:
        """The people who must not be heard, in any guild."""
        return self._opted_out

    def knows(self, guild_id: int) -> bool:
        """Whether the guild's settings are known (`learn` has finished)."""
        return guild_id in self._guilds

    @property
    def waiting(self) -> int:
        """How many changes are not saved yet."""
        return len(self._behind)

    def guild(self, guild_id: int) -> GuildSettings:
        """The settings of the guild's admins, as far as they are known."""
        return applied(self._guild_changes.get(guild_id, ()), self._guilds.get(guild_id) or GuildSettings(guild_id))

    def rules(self, guild_id: int) -> GuildRules:
        """The rules of a guild: its admins' settings, else the configuration. What the configuration denies stays denied."""
        own, base = self.guild(guild_id), self._configured
        return replace(
            base,
            captions=CaptionsPlace(own.captions.where, own.captions.channel_id) if own.captions else base.captions,
            allow_channels=own.allowed_channels or base.allow_channels,
            deny_channels=own.denied_channels | base.deny_channels,
            allow_roles=own.allowed_roles or base.allow_roles,
            deny_roles=own.denied_roles | base.deny_roles,
            idle_minutes=base.idle_minutes if own.idle_minutes is None else own.idle_minutes,
            # The operator's time limit protects the other servers: a server may make its own shorter, not longer.
            max_minutes=min((minutes for minutes in (base.max_minutes, own.max_minutes) if minutes), default=0),
            transcripts=own.transcripts,
            notes=own.notes and own.transcripts,
            captions_of_people=base.captions_of_people if own.captions_of_people is None else own.captions_of_people,
            opt_outs_unknown=not self.opt_outs_known,
        )

    def guild_persona(self, guild_id: int) -> Persona:
        """The persona for people who chose none: the guild's choice if the engine takes it, else the configuration's."""
        wanted = self.guild(guild_id).choice.over(self._default)
        return self._default if self.refusal(wanted) else wanted

    async def persona(self, guild_id: int, person_id: int | None) -> Persona:
        """The persona for a call that this person (or None) started. The engine takes it.

        A choice that only another engine would take is ignored.
        """
        default = self.guild_persona(guild_id)
        if person_id is None:
            return default
        wanted = (await self.person(person_id)).choice.over(default)
        return default if self.refusal(wanted) else wanted

    def refusal(self, persona: Persona) -> str | None:
        """Why the engine would refuse this persona, as a sentence; None if it would take it."""
        return self._provider.check(persona.voice, persona.text_prompt)

    async def person(self, user_id: int) -> PersonSettings:
        """The settings of the person; without stored ones if the database does not answer."""
        found = self._people.get(user_id)
        if found is None:
            found = PersonSettings(user_id, opted_out=user_id in self._opted_out)
            if not self._behind.holds(EVERYTHING, Owner("person", user_id)):
                heard = self._heard
                try:
                    found = await self.store.people.get(user_id)
                except StoreError as fault:
                    log.warning("settings of a person not read", cause=fault.full)
                else:
                    if heard == self._heard:
                        self._keep(found)
        settings = applied(self._person_changes.get(user_id, ()), found)
        return replace(settings, opted_out=user_id in self._opted_out)

    async def personas(self, owner: Owner) -> tuple[SavedPersona, ...]:
        """An owner's personas, sorted by name, including unsaved ones. Raises StoreError if they cannot be read."""
        waiting = self._personas.get(owner, {})
        gone = self._behind.holds(EVERYTHING, owner)
        stored = () if gone else await self.store.personas.list(owner)
        found = {key(one.name): one for one in stored} | waiting
        return tuple(one for _, one in sorted(found.items()) if one)

    # Reading

    async def load(self) -> None:
        """Read the opt-outs, which apply from the first packet on. If they cannot be read, `opt_outs_known` is False."""
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
            # Nobody else removes opt-outs: if one is missing, the file is an older copy.
            for user_id in self._read_opted_out - found - self._wishes.keys():
                self._wish(user_id, out=True)
        self._read_opted_out = found
        if not self.opt_outs_known:
            self.opt_outs_known = True
            self.changed()
        self._weigh_wishes()

    def read_again(self, covers: Callable[[int], bool]) -> None:
        """Another process may have changed the settings of these guilds and their people: `learn` and `person` read them again.

        The opt-outs are read again, too: a message about one may have been lost.
        """
        self._other_process_changed("people", None)
        for guild_id in [guild_id for guild_id in self._guilds if covers(guild_id)]:
            del self._guilds[guild_id]
            self._unread.discard(guild_id)

    async def learn(self, guild_id: int) -> None:
        """Read a guild's settings once. If that fails, the configuration applies there until the next call of this.

        Guilds that are asked for while others are read are read together: at a start, they come by thousands.
        """
        if self._is_read(guild_id):
            return
        self._asked.add(guild_id)
        async with self._learning:
            while guild_id in self._asked:
                await self._read_guilds(tuple(itertools.islice(self._asked, MOST_AT_ONCE)))

    async def _read_guilds(self, guild_ids: Collection[int]) -> None:
        """Read these. What cannot be read is asked for no longer, either."""
        try:
            found = await self.store.guilds.get_all(guild_ids)
        except StoreError as fault:
            log.warning("settings of guilds not read", guilds=len(guild_ids), cause=fault.full)
            found = {}
        for guild_id in guild_ids:
            self._asked.discard(guild_id)
            if self._behind.holds(EVERYTHING, Owner("guild", guild_id)):
                self._unread.discard(guild_id)
            elif guild_id not in found:
                self._unread.add(guild_id)
                self._guilds.setdefault(guild_id, GuildSettings(guild_id))
            elif not self._is_read(guild_id):  # else saved meanwhile
                self._unread.discard(guild_id)
                self._guilds[guild_id] = found[guild_id]

    def _is_read(self, guild_id: int) -> bool:
        return guild_id in self._guilds and guild_id not in self._unread

    async def read_guild(self, guild_id: int) -> None:
        """Read a guild's settings. Raises StoreError."""
        if not self._behind.holds(EVERYTHING, Owner("guild", guild_id)):
            self._guilds[guild_id] = await self.store.guilds.get(guild_id)
        self._unread.discard(guild_id)

    # Changes

    def change_guild(self, guild_id: int, change: Change[GuildSettings]) -> Awaitable[SaveStatus]:
        """Apply `change` to a guild's settings."""
        before = self._guild_changes.get(guild_id, ())
        self._guild_changes[guild_id] = added(before, change, self._guilds[guild_id] if self._is_read(guild_id) else None)
        try:
            self.guild(guild_id)
            save_status = self._behind.put(
                Key("settings", Owner("guild", guild_id)), functools.partial(self._save_guild, guild_id), unchanged
            )
        except Exception:
            self._guild_changes[guild_id] = before
            raise
        self.changed()
        return save_status

    def change_person(self, user_id: int, change: Change[PersonSettings]) -> Awaitable[SaveStatus]:
        """Apply `change` to a person's settings, except their opt-out."""
        before = self._person_changes.get(user_id, ())
        self._person_changes[user_id] = added(before, change, self._people.get(user_id))
        try:
            return self._behind.put(Key("settings", Owner("person", user_id)), functools.partial(self._save_person, user_id), unchanged)
        except StoreError:
            self._person_changes[user_id] = before
            raise

    def change_personas(self, owner: Owner, changes: Mapping[str, SavedPersona | None]) -> Awaitable[SaveStatus]:
        """Save or (None) delete personas, by the `store.personas.key` of their names: all or none."""
        before = self._personas.get(owner, {})
        if len(before.keys() | changes.keys()) > 2 * PER_OWNER:
            raise StoreError("The persona was not saved: too many changes wait for the database already.")
        self._personas[owner] = {**before, **changes}
        try:
            size = sum(4 * len(one.persona.text_prompt) for one in self._personas[owner].values() if one)
            return self._behind.put(Key("personas", owner), functools.partial(self._save_personas, owner), unchanged, size=size)
        except StoreError:
            self._personas[owner] = before
            raise

    def silence(self, user_id: int) -> Awaitable[SaveStatus]:
        """Do not hear this person any more, from now on. It is saved afterwards; the result says whether it is."""
        return self._wish(user_id, out=True)

    def listen(self, user_id: int) -> Awaitable[SaveStatus]:
        """This person may be heard again."""
        return self._wish(user_id, out=False)

    def forget(self, user_id: int) -> Awaitable[Deleted]:
        """Delete what is stored about a person, except an opt-out."""
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
        """Remember that a message says that a call is running."""
        self._save_notice(notice, functools.partial(self.store.notices.add, notice))

    def forget_notice(self, notice: UnfinishedNotice) -> None:
        """Forget that message."""
        self._save_notice(notice, functools.partial(self.store.notices.remove, notice.message_id))

    async def forget_missing_guilds(self, is_missing: Callable[[int], Awaitable[bool]]) -> None:
        """Delete what is stored about guilds that removed the bot while it was offline.

        `is_missing` asks Discord about a guild where that is needed, and returns False if it is not certain.
        """
        try:
            known = await self.store.privacy.guilds()
        except StoreError as fault:
            log.warning("removed guilds not read", cause=fault.full)
            return
        for guild_id in sorted(known):
            if await is_missing(guild_id):
                log.info("settings of a removed guild deleted", guild=guild_id)
                await self.forget_guild(guild_id)

    # Saving

    def _wish(self, user_id: int, *, out: bool) -> Awaitable[SaveStatus]:
        self._wishes[user_id] = out
        self._people.pop(user_id, None)
        self._weigh_wishes()
        save = functools.partial(self._save_wish, user_id, self.store.fence.deaths)
        return self._behind.put(Key("heard", Owner("person", user_id)), save, unchanged, urgent=True)

    def _weigh_wishes(self) -> None:
        """Update the opt-outs: the stored ones, and changes since."""
        before = self._opted_out
        self._opted_out = with_wishes(self._read_opted_out, self._wishes)
        if self._opted_out != before:
            self.changed()

    async def _save_wish(self, user_id: int, deaths: int) -> bool:
        out = self._wishes.get(user_id)
        if out is None:
            return True  # it was saved with an earlier change
        try:
            await (self.store.people.opt_out(user_id) if out else self.store.people.opt_in(user_id, deaths=deaths))
        except TakenOverError:  # in doubt, a person is not heard
            if self._wishes.get(user_id) is out:
                del self._wishes[user_id]
            self._weigh_wishes()
            self._other_process_changed("people", None)
            raise
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
            self._behind.put(about, write, unchanged, size=NOTICE_BYTES)

    def _delete(
        self, owner: Owner, what: str, call: str | None, delete: Callable[[], Awaitable[StoredAboutPerson | int | None]]
    ) -> Awaitable[Deleted]:
        found: list[StoredAboutPerson | int | None] = []
        for forget in self.forgetting:
            forget(owner, call)

        async def save() -> bool:
            found.append(await delete())
            return not self.store.unclean

        def deleted(save_status: SaveStatus) -> Deleted:
            result = found[-1] if save_status.saved and found else None
            stored, lines = (result, None) if isinstance(result, StoredAboutPerson) else (None, result)
            return Deleted(save_status, stored, lines)

        return self._behind.put(Key(what, owner), save, deleted, urgent=True)

    # Background work

    async def _recover(self) -> None:
        """Open the database again, and read the opt-outs again. Raises StoreError."""
        async with self._recovering:
            await self.store.recover()
            await self.load()

    async def _keep_up(self) -> None:
        """Try to open a database that could not be opened, and to empty a journal that another program was reading."""
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
        """Apply changes of other processes."""
        async with self.store.watched(self._clock, self._other_process_changed):
            while True:
                await self._changed_elsewhere.wait()
                self._changed_elsewhere.clear()
                if self._opt_outs_changed:
                    self._opt_outs_changed = False
                    await self.load()
                while self._guilds_changed:
                    await self._read_guild_again(self._guilds_changed.pop())

    def _other_process_changed(self, what: What, whose: int | None) -> None:
        self._heard += 1
        if what == "guild":
            if whose in self._guilds:
                self._guilds_changed.add(whose)
                self._changed_elsewhere.set()
        elif what == "person" and whose is not None:
            self._people.pop(whose, None)
        else:
            self._people.clear()
            if whose is None:
                self._opt_outs_changed = True
                self._changed_elsewhere.set()
            else:
                for forget in self.forgetting:
                    forget(Owner("person", whose), None)

    async def _read_guild_again(self, guild_id: int) -> None:
        """Another process has changed a guild's settings. If they cannot be read, the next `learn` tries again."""
        before = self.guild(guild_id)
        try:
            await self.read_guild(guild_id)
        except StoreError as fault:
            log.warning("settings of guilds not read", guilds=1, cause=fault.full)
            self._unread.add(guild_id)
        if self.guild(guild_id) != before:
            self.changed()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="bot:preferences")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep(self, settings: PersonSettings) -> None:
        self._people.pop(settings.user_id, None)
        self._people[settings.user_id] = settings
        drop_oldest(self._people, MOST_PEOPLE)


def is_final(fault: Exception) -> bool:
    """Whether the database will never accept a change that failed with this."""
    return not (isinstance(fault, StoreError) and fault.retry)


def unchanged(save_status: SaveStatus) -> SaveStatus:
    """The result without anything else."""
    return save_status


def with_wishes(opted_out: frozenset[int], wishes: Mapping[int, bool]) -> frozenset[int]:
    """The opt-outs after these wishes (True: opted out)."""
    return (opted_out - wishes.keys()) | {user_id for user_id, out in wishes.items() if out}


def added(before: tuple[Callable[[T], T], ...], change: Callable[[T], T], stored: T | None) -> tuple[Callable[[T], T], ...]:
    """The waiting changes plus `change`; if the settings that they apply to are known, in one that sets what they change and nothing else.

    Raises StoreError if too many wait.
    """
    if before and stored is not None:
        after = change(applied(before, stored))
        names = [one.name for one in fields(after) if getattr(after, one.name) != getattr(stored, one.name)]
        return (lambda now: replace(now, **{name: getattr(after, name) for name in names}),)
    if len(before) >= MOST_CHANGES:
        raise StoreError("The setting was not saved: too many changes wait for the database already.")
    return before + (change,)  # noqa: RUF005 - mypy loses the type of the other way


def applied(changes: Iterable[Callable[[T], T]], settings: T) -> T:
    """The settings after the changes, applied in order."""
    return functools.reduce(lambda now, change: change(now), changes, settings)
