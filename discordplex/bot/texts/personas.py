"""What the bot says about personas and voices. Pure."""

from collections.abc import Sequence

from discordplex.bot.texts.calls import told, who
from discordplex.bot.texts.markdown import PIECE_LIMIT, harmless
from discordplex.bot.texts.waiting import counted
from discordplex.engine import Persona
from discordplex.plaintext import one_line
from discordplex.store.records import Choice, SavedPersona

LINE_LENGTH = 160
"""Characters of a role in a list."""

NO_CALL_HERE = "There is no call in this server. Your choice applies to the next call that you start."
NOTHING_GIVEN = "Say what to set: a saved persona, a role, a voice, or several of them."
NONE_SAVED = "Nobody has saved a persona here yet."
APPLY_NOW = "Change now"
"""A button."""
APPLIED = "I am switching in this call too. That takes a moment."


def in_force(persona: Persona, own: Choice, guild: Choice) -> str:
    """/persona show and /voice: the persona in force, and who chose it."""
    named = own.name or (guild.name if own == Choice() else None)
    called = f" (**{harmless(named)}**)" if named else ""
    return f"You talk with {who(persona)}{called}. {source(own, guild)}\n{role_of(persona)}"


def source(own: Choice, guild: Choice) -> str:
    """Who chose a persona."""
    if own != Choice():
        return "It is your own choice."
    return "It is this server's choice." if guild != Choice() else "It is the bot's default."


def role_of(persona: Persona) -> str:
    """The role, as much of it as fits into a message."""
    return f">>> {harmless(one_line(persona.text_prompt, 1200))}"


def chosen(persona: Persona, *, running: bool) -> str:
    """/persona set and /voice: what was saved. With `running`, the message has a button that changes the running call."""
    now = " The current call keeps its persona, unless you press *Change now*." if running else ""
    return f"In the next call that you start, people talk with {who(persona)}.{now}"


def unset(persona: Persona) -> str:
    """/persona reset."""
    return f"Your own choice is deleted. In the next call that you start, people talk with {who(persona)}."


def persona_list(own: Sequence[SavedPersona], guild: Sequence[SavedPersona], library: Sequence[SavedPersona]) -> str:
    """/persona list. Ends with the number of lines that do not fit."""
    lines: list[str] = []
    for title, personas in (("Yours", own), ("This server's", guild), ("Mine", library)):
        if personas:
            lines += [f"**{title}**", *(line_of(one) for one in personas)]
    return fitting(lines)


def line_of(one: SavedPersona) -> str:
    """A saved persona in one line."""
    return f"- **{harmless(one.name)}** ({harmless(one.persona.voice)}): {harmless(one_line(one.persona.text_prompt, LINE_LENGTH))}"


def fitting(lines: Sequence[str]) -> str:
    """As many lines as fit into a message."""
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


ONE_IMPORT = "One file at a time: I am still importing your last one."


def imported(personas: Sequence[SavedPersona]) -> str:
    """/persona import."""
    names = ", ".join(f"**{harmless(one.name)}**" for one in personas)
    return f"Saved: {one_line(names, 1500)}." if personas else "There is no persona in that file."


def exported(count: int) -> str:
    """/persona export."""
    return f"{counted(count, 'persona')}. Anybody can import the file with `/persona import`."


def no_persona(name: str) -> str:
    """No persona has that name."""
    return f"There is no persona named “{one_line(name, 80)}” here. `/persona list` shows them all."


def bad_name(longest: int) -> str:
    """The name of a persona is empty or too long."""
    return f"The persona's name must have 1 to {longest} characters."


def refused(name: str, refusal: str) -> str:
    """The engine would refuse one persona of a file."""
    return f"The persona “{one_line(name, 80)}” would be refused. {told(refusal)}"


def file_too_large(limit_kb: int) -> str:
    """/persona import."""
    return f"That file is too large. The limit is {limit_kb} KB."
