"""What the bot says about the settings of a server. Pure."""

from collections.abc import Callable, Iterable, Sequence

from discordplex.bot.rules import CaptionsPlace, Rules
from discordplex.bot.texts.calls import as_it_stands, told, who
from discordplex.bot.texts.markdown import harmless
from discordplex.engine import Persona
from discordplex.store.records import Deleted, TranscriptLine

NOT_TOLD = (
    "In the call that runs now nothing is kept and nobody's words are written down: not everybody in it could be told. Give my role Send "
    "Messages in the voice channel, and let all who sit in it see that channel."
)
FOR_ADMINS = f"To the admins of this server: {NOT_TOLD[0].lower()}{NOT_TOLD[1:]}"
NO_TRANSCRIPT = "There is no transcript of that call."
CHANNEL_MISSING = "Say which text channel as well: the option is called channel."


def may_not_write(channel: str, *, thread: bool) -> str:
    """A channel that was chosen for captions is closed to us."""
    needed = "Create Public Threads and Send Messages in Threads" if thread else "View Channel and Send Messages"
    return f"I may not write in #{channel}: give my role the permissions {needed} there."


def settings(rules: Rules, persona: Persona, *, problem: str | None) -> str:
    """/settings show, and the answer to every change: all that holds now."""
    lines = [
        f"- captions and notices: {captions(rules.captions)}",
        f"- what people say {'is' if rules.captions_of_people else 'is not'} written into the captions",
        f"- people who chose nobody talk with {who(persona)}",
        f"- channels: {targets(rules.allow_channels, rules.deny_channels, '<#{}>', 'all')}",
        f"- who may call me: {targets(rules.allow_roles, rules.deny_roles, '<@&{}>', 'everybody')}",
        f"- when nobody speaks I leave: {minutes(rules.idle_minutes)}",
        f"- when nobody speaks and others wait I leave: {minutes(rules.busy_idle_minutes)}",
        f"- when others wait a call ends: {minutes(rules.max_minutes)}",
        f"- transcripts: {'on, what is said in calls is kept' if rules.transcripts else 'off, nothing that is said is kept'}",
    ]
    return "\n".join(["What holds in this server:", *lines, *([told(problem)] if problem else [])])


def transcript(lines: Sequence[TranscriptLine], engine: str, name_of: Callable[[int], str]) -> str:
    """A transcript as a text file: when, who, what. `engine` is what the engine is called."""
    return "".join(f"{line.said_at:%H:%M:%S} {engine if line.user_id is None else name_of(line.user_id)}: {line.text}\n" for line in lines)


def transcript_of(call: str, lines: int) -> str:
    """/settings transcript."""
    return f"The call of {harmless(call)}: {lines} {'line' if lines == 1 else 'lines'}. Times are UTC."


def transcripts_deleted(deleted: Deleted) -> str:
    """/settings forget-transcripts."""
    if deleted.lines is None:
        return f"Nothing is deleted yet: I delete it as soon as the database takes it. {told(deleted.standing.why)}"
    return as_it_stands(f"{deleted.lines} {'line is' if deleted.lines == 1 else 'lines are'} deleted.", deleted.standing)


def captions(place: CaptionsPlace) -> str:
    """Where captions go."""
    if place.where == "channel":
        return f"in <#{place.channel_id}>"
    if place.where == "thread":
        below = f" in <#{place.channel_id}>" if place.channel_id else ""
        return f"captions in a thread for each call{below}, notices in the voice channel's own chat"
    return "in the voice channel's own chat" if place.where == "voice" else "nowhere"


def targets(allowed: Iterable[int], denied: Iterable[int], shown: str, everything: str) -> str:
    """What is allowed and what is not."""
    yes = ", ".join(shown.format(one) for one in sorted(allowed)) or everything
    no = ", ".join(shown.format(one) for one in sorted(denied))
    return f"{yes}, but not {no}" if no else yes


def minutes(number: float) -> str:
    """A limit in words."""
    return f"after {number:g} min" if number else "never"
