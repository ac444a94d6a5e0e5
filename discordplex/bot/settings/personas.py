"""Saved personas: a person's own, the server's, and the library of the package. A name is looked up in this order."""

import contextlib
import functools
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources

from discordplex.bot import texts
from discordplex.bot.settings.preferences import StoredPreferences
from discordplex.engine import Persona
from discordplex.errors import StoreError
from discordplex.plaintext import one_line
from discordplex.store import personafile
from discordplex.store.personafile import NAME_CHARACTERS
from discordplex.store.personas import key
from discordplex.store.records import Choice, Owner, SavedPersona, SaveStatus

LIBRARY_OWNER = Owner("guild", 0)
"""The owner of the library. No guild has this id."""

MOST_CHOICES = 25
"""The most completions that Discord shows (documented)."""

PROMPT_CHARACTERS = 4000
"""The longest option of a slash command (documented: 6000 in all)."""


@functools.cache
def library() -> tuple[SavedPersona, ...]:
    """The personas of the package, in the forms that PersonaPlex was trained on."""
    return personafile.read(resources.files("discordplex.bot").joinpath("personas.json").read_bytes(), LIBRARY_OWNER)


class PersonaCatalog:
    """Personas by name, for one bot. Raises StoreError with a sentence for people. All methods: the event loop's thread."""

    def __init__(self, preferences: StoredPreferences) -> None:
        self._preferences = preferences
        self._importing: set[int] = set()

    async def known(self, guild_id: int, user_id: int) -> Sequence[SavedPersona]:
        """All personas that this person can choose here: their own, the server's, the library's. For equal names, the first counts."""
        own = await self._preferences.personas(Owner("person", user_id))
        guilds = await self._preferences.personas(Owner("guild", guild_id))
        return first_of_each_name([*own, *guilds, *library()])

    async def find(self, guild_id: int, user_id: int, name: str) -> SavedPersona:
        """The persona of this name. Raises StoreError if there is none."""
        found = next((one for one in await self.known(guild_id, user_id) if key(one.name) == key(name)), None)
        if found is None:
            raise StoreError(texts.personas.no_persona(name))
        return found

    async def matching(self, guild_id: int, user_id: int, typed: str, *, owner: Owner | None = None) -> list[str]:
        """Completions for what was typed: names that start with it, then names that contain it; of one owner, if given."""
        known = await self._preferences.personas(owner) if owner else await self.known(guild_id, user_id)
        return offers((one.name for one in known), typed)

    async def choice(
        self, guild_id: int, user_id: int, *, name: str | None = None, role: str | None = None, voice: str | None = None, before: Choice
    ) -> Choice:
        """The choice from a saved persona's name, a role, a voice, or several of them.

        Raises StoreError, with the reason, if the engine would refuse it in combination with the guild's default.
        """
        saved = await self.find(guild_id, user_id, name) if name else None
        start = Choice(saved.persona.voice, saved.persona.text_prompt, saved.name) if saved else before
        changed = Choice(
            voice=voice or start.voice,
            text_prompt=role or start.text_prompt,
            name=None if role or (voice and not saved) else start.name,
        )
        refusal = self._preferences.refusal(changed.over(self._preferences.guild_persona(guild_id)))
        if refusal:
            raise StoreError(refusal)
        return changed

    async def save(self, owner: Owner, name: str, persona: Persona) -> tuple[SavedPersona, SaveStatus]:
        """Save a persona under a name; returns it and whether it is saved. Raises StoreError if the name or the persona is not valid."""
        word = one_line(name)
        if not 1 <= len(word) <= NAME_CHARACTERS or not personafile.is_storable(name):
            raise StoreError(texts.personas.bad_name(NAME_CHARACTERS))
        self._refuse(persona)
        saved = SavedPersona(owner, word, persona)
        return saved, await self._preferences.change_personas(owner, {key(word): saved})

    async def delete(self, owner: Owner, name: str) -> SaveStatus:
        """Delete a persona; returns whether that is saved. Raises StoreError if there is none of this name."""
        try:
            missing = all(key(one.name) != key(name) for one in await self._preferences.personas(owner))
        except StoreError:
            missing = False  # unknown: if it exists, it is deleted
        if missing:
            raise StoreError(texts.personas.no_persona(name))
        return await self._preferences.change_personas(owner, {key(name): None})

    @contextlib.contextmanager
    def one_import(self, user_id: int) -> Iterator[None]:
        """A context for an import, including the download of its file. Raises StoreError if this person's last import is still running."""
        if user_id in self._importing:
            raise StoreError(texts.personas.ONE_IMPORT)
        self._importing.add(user_id)
        try:
            yield
        finally:
            self._importing.discard(user_id)

    async def take_in(self, owner: Owner, content: bytes) -> tuple[Sequence[SavedPersona], SaveStatus]:
        """Save the personas of a file, all or none; returns them and whether they are saved.

        Raises StoreError if the file is not valid, has too many personas, or the engine would refuse one of them.
        """
        found = first_of_each_name(personafile.read(content, owner))
        for one in found:
            self._refuse(one.persona, one.name)
        return found, await self._preferences.change_personas(owner, {key(one.name): one for one in found})

    def _refuse(self, persona: Persona, name: str | None = None) -> None:
        refusal = self._preferences.refusal(persona)
        if refusal:
            raise StoreError(texts.personas.refused(name, refusal) if name else refusal)


def first_of_each_name(personas: Iterable[SavedPersona]) -> tuple[SavedPersona, ...]:
    """The first persona of each name; spellings of one name are the same."""
    by_name: dict[str, SavedPersona] = {}
    for one in personas:
        by_name.setdefault(key(one.name), one)
    return tuple(by_name.values())


def offers(names: Iterable[str], typed: str) -> list[str]:
    """The names that match what was typed, the best first, as many as Discord shows."""
    word = key(typed)
    fitting = [name for name in names if word in key(name)]
    return sorted(fitting, key=lambda name: not key(name).startswith(word))[:MOST_CHOICES]
