"""Saved personas: a person's own, the server's, and the library that comes with the package, which every name is looked up in, in turn."""

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
"""No guild has this number."""

MOST_CHOICES = 25
"""Discord shows no more while somebody types (documented)."""

PROMPT_CHARACTERS = 4000
"""Longest option of a slash command (documented: 6000 in all)."""


@functools.cache
def library() -> tuple[SavedPersona, ...]:
    """The personas that come with the package, in the forms of prompt that PersonaPlex was trained on."""
    return personafile.read(resources.files("discordplex.bot").joinpath("personas.json").read_bytes(), LIBRARY_OWNER)


class PersonaCatalog:
    """Personas by name, for one bot. Raises StoreError with a sentence for people. All methods: the event loop's thread."""

    def __init__(self, preferences: StoredPreferences) -> None:
        self._preferences = preferences
        self._importing: set[int] = set()

    async def known(self, guild_id: int, user_id: int) -> Sequence[SavedPersona]:
        """Every persona that this person can choose here: their own, the server's, the library's. One of each name, the first counts."""
        own = await self._preferences.personas(Owner("person", user_id))
        guilds = await self._preferences.personas(Owner("guild", guild_id))
        return first_of_each_name([*own, *guilds, *library()])

    async def find(self, guild_id: int, user_id: int, name: str) -> SavedPersona:
        """The persona of this name. Raises StoreError where there is none."""
        found = next((one for one in await self.known(guild_id, user_id) if key(one.name) == key(name)), None)
        if found is None:
            raise StoreError(texts.personas.no_persona(name))
        return found

    async def matching(self, guild_id: int, user_id: int, typed: str, *, owner: Owner | None = None) -> list[str]:
        """Names to offer while somebody types: those that begin with it, then those that have it in them; of one owner, if one is named."""
        known = await self._preferences.personas(owner) if owner else await self.known(guild_id, user_id)
        return offers((one.name for one in known), typed)

    async def choice(
        self, guild_id: int, user_id: int, *, name: str | None = None, role: str | None = None, voice: str | None = None, before: Choice
    ) -> Choice:
        """What a choice becomes: a saved persona by its name, a role or a voice of one's own, or some of these.

        Raises StoreError where the engine would refuse it over the guild's default, with its reason.
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
        """Keep a persona under a name, and how that stands. Raises StoreError where the name or the persona will not do."""
        word = one_line(name)
        if not 1 <= len(word) <= NAME_CHARACTERS or not personafile.is_storable(name):
            raise StoreError(texts.personas.bad_name(NAME_CHARACTERS))
        self._refuse(persona)
        saved = SavedPersona(owner, word, persona)
        return saved, await self._preferences.change_personas(owner, {key(word): saved})

    async def delete(self, owner: Owner, name: str) -> SaveStatus:
        """Forget a persona; how that stands. Raises StoreError where there is none of this name."""
        try:
            missing = all(key(one.name) != key(name) for one in await self._preferences.personas(owner))
        except StoreError:
            missing = False  # nobody knows: it is deleted where it is there
        if missing:
            raise StoreError(texts.personas.no_persona(name))
        return await self._preferences.change_personas(owner, {key(name): None})

    @contextlib.contextmanager
    def one_import(self, user_id: int) -> Iterator[None]:
        """Around an import, the download of its file included. Raises StoreError where this person's last one is not done."""
        if user_id in self._importing:
            raise StoreError(texts.personas.ONE_IMPORT)
        self._importing.add(user_id)
        try:
            yield
        finally:
            self._importing.discard(user_id)

    async def take_in(self, owner: Owner, content: bytes) -> tuple[Sequence[SavedPersona], SaveStatus]:
        """Keep the personas of a file, all or none, and how that stands.

        Raises StoreError where it is no such file, has too many personas, or the engine would refuse one of them.
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
    """Without those whose name came before, perhaps in another spelling."""
    by_name: dict[str, SavedPersona] = {}
    for one in personas:
        by_name.setdefault(key(one.name), one)
    return tuple(by_name.values())


def offers(names: Iterable[str], typed: str) -> list[str]:
    """The names that fit what was typed, the best first, as many as Discord shows."""
    word = key(typed)
    fitting = [name for name in names if word in key(name)]
    return sorted(fitting, key=lambda name: not key(name).startswith(word))[:MOST_CHOICES]
