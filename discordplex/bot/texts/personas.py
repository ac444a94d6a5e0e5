"""What the bot says about personas and voices. Pure."""

from collections.abc import Sequence

from discordplex.bot.texts.calls import told, who
from discordplex.bot.texts.markdown import PIECE_LIMIT, harmless, shorten
from discordplex.engine import Persona
from discordplex.store.records import Choice, SavedPersona

LINE_LENGTH = 160
"""Characters of a role in a list."""

NO_CALL_HERE = "There is no call in this server: your choice holds for the next one that you begin."
NOTHING_GIVEN = "Say what to set: the name of a saved persona, a role, a voice, or several of them."
NONE_SAVED = "Nobody has saved a persona here yet."
APPLY_NOW = "Change now"
"""A button."""
APPLIED = "I am changing in this call too; that takes a moment."


def in_force(persona: Persona, own: Choice, guild: Choice) -> str:
    """/persona show and /voice: who it is, and on whose wish."""
    named = own.name or (guild.name if own == Choice() else None)
    called = f" (**{harmless(named)}**)" if named else ""
    return f"You talk with {who(persona)}{called}. {source(own, guild)}\n{role_of(persona)}"


def source(own: Choice, guild: Choice) -> str:
    """Whose wish a persona is."""
    if own != Choice():
        return "It is your own choice."
    return "It is this server's choice." if guild != Choice() else "It is what the bot was set up with."


def role_of(persona: Persona) -> str:
    """The whole role, as far as a message holds it."""
    return f">>> {harmless(shorten(persona.text_prompt, 1200))}"


def chosen(persona: Persona, *, running: bool) -> str:
    """/persona set and /voice: what was saved. Where a call is running there is a button below."""
    now = " The call that is running keeps its persona, unless you change it now." if running else ""
    return f"In the next call that you begin, people talk with {who(persona)}.{now}"


def unset(persona: Persona) -> str:
    """/persona reset."""
    return f"Your own choice is forgotten. In the next call that you begin, people talk with {who(persona)}."


def persona_list(own: Sequence[SavedPersona], guild: Sequence[SavedPersona], library: Sequence[SavedPersona]) -> str:
    """/persona list. What does not fit is counted."""
    lines: list[str] = []
    for title, personas in (("Yours", own), ("This server's", guild), ("Mine", library)):
        if personas:
            lines += [f"**{title}**", *(line_of(one) for one in personas)]
    return fitting(lines)


def line_of(one: SavedPersona) -> str:
    """A saved persona in one line."""
    return f"- **{harmless(one.name)}** ({harmless(one.persona.voice)}): {harmless(shorten(one.persona.text_prompt, LINE_LENGTH))}"


def fitting(lines: Sequence[str]) -> str:
    """As many lines as a message holds."""
    text = ""
    for number, line in enumerate(lines):
        if len(text) + len(line) > PIECE_LIMIT - 40:
            return f"{text}… and {len(lines) - number} more lines."
        text += f"{line}\n"
    return text.strip()


def saved(one: SavedPersona) -> str:
    """/persona save."""
    whose = "this server" if one.owner.kind == "guild" else "you"
    return f"**{harmless(one.name)}** is saved for {whose}: {who(one.persona)}."


def deleted(name: str) -> str:
    """/persona delete."""
    return f"**{harmless(name)}** is deleted."


ONE_IMPORT = "One file at a time: I am still taking in your last one."


def imported(personas: Sequence[SavedPersona]) -> str:
    """/persona import."""
    names = ", ".join(f"**{harmless(one.name)}**" for one in personas)
    return f"Saved: {shorten(names, 1500)}." if personas else "There is no persona in that file."


def exported(count: int) -> str:
    """/persona export."""
    return f"{count} {'persona' if count == 1 else 'personas'}. Anybody can take the file in with `/persona import`."


def no_persona(name: str) -> str:
    """There is none of that name."""
    return f"There is no persona named “{shorten(name, 80)}” here. `/persona list` shows those there are."


def bad_name(longest: int) -> str:
    """A name that cannot be kept."""
    return f"The persona's name must have 1 to {longest} characters."


def refused(name: str, refusal: str) -> str:
    """One persona of a file that the engine would refuse."""
    return f"The persona “{shorten(name, 80)}” would be refused. {told(refusal)}"


def file_too_large(limit_kb: int) -> str:
    """/persona import."""
    return f"That file is too large: personas fit into {limit_kb} KB."
