"""What the bot says about the settings of a server. Pure."""

from collections.abc import Callable, Iterable, Sequence

from discordplex.bot.guild_rules import CaptionsPlace, GuildRules
from discordplex.bot.texts.calls import told, who, with_save_status
from discordplex.bot.texts.markdown import harmless
from discordplex.bot.texts.waiting import counted
from discordplex.engine import Persona
from discordplex.store.records import Deleted, TranscriptLine

NOT_TOLD = (
    "In the current call nothing is kept and nobody's words are written down, because I could not tell everybody in it. Give my role the "
    "permission Send Messages in the voice channel, and let everybody in the call see that channel."
)
FOR_ADMINS = f"To the admins of this server: {NOT_TOLD[0].lower()}{NOT_TOLD[1:]}"
NO_TRANSCRIPT = "There is no transcript of that call."
CHANNEL_MISSING = "Choose the text channel too, with the option channel."


def may_not_write(channel: str, *, thread: bool) -> str:
    """The bot may not write in the channel that was chosen for captions."""
    needed = "Create Public Threads and Send Messages in Threads" if thread else "View Channel and Send Messages"
    return f"I may not write in #{channel}. Give my role the permissions {needed} there."


def settings(rules: GuildRules, persona: Persona, *, problem: str | None) -> str:
    """/settings show, and the answer to every change: all settings in force."""
    lines = [
        f"- captions and notices: {captions(rules.captions)}",
        f"- captions of what people say: {'on' if rules.captions_of_people else 'off'}",
        f"- default persona: {who(persona)}",
        f"- channels: {targets(rules.allow_channels, rules.deny_channels, '<#{}>', 'all')}",
        f"- who may call me: {targets(rules.allow_roles, rules.deny_roles, '<@&{}>', 'everybody')}",
        f"- I leave when nobody speaks: {minutes(rules.idle_minutes)}",
        f"- I leave when nobody speaks and others wait: {minutes(rules.busy_idle_minutes)}",
        f"- a call ends when others wait: {minutes(rules.max_minutes)}",
        f"- transcripts: {'on, what is said in calls is kept' if rules.transcripts else 'off, nothing that is said is kept'}",
        f"- notes after calls: {'on' if rules.notes else 'off'}",
    ]
    return "\n".join(["Settings of this server:", *lines, *([told(problem)] if problem else [])])


def transcript(lines: Sequence[TranscriptLine], engine: str, name_of: Callable[[int], str]) -> str:
    """A transcript as a text file: when, who, what. `engine` is what the engine is called."""
    return "".join(f"{line.said_at:%H:%M:%S} {engine if line.user_id is None else name_of(line.user_id)}: {line.text}\n" for line in lines)


def transcript_of(call: str, lines: int) -> str:
    """/settings transcript."""
    return f"The call of {harmless(call)}: {counted(lines, 'line')}. Times are UTC."


def transcripts_deleted(deleted: Deleted) -> str:
    """/settings forget-transcripts."""
    if deleted.lines is None:
        return f"Nothing is deleted yet. I delete it as soon as the database works again. {told(deleted.save_status.why)}"
    return with_save_status(f"{deleted.lines} {'line is' if deleted.lines == 1 else 'lines are'} deleted.", deleted.save_status)


def captions(place: CaptionsPlace) -> str:
    """Where captions go."""
    if place.where == "channel":
        return f"in <#{place.channel_id}>"
    if place.where == "thread":
        below = f" in <#{place.channel_id}>" if place.channel_id else ""
        return f"captions in a thread for each call{below}, notices in the voice channel's own chat"
    return "in the voice channel's own chat" if place.where == "voice" else "nowhere"


def targets(allowed: Iterable[int], denied: Iterable[int], shown: str, everything: str) -> str:
    """What is allowed, and what is not."""
    yes = ", ".join(shown.format(one) for one in sorted(allowed)) or everything
    no = ", ".join(shown.format(one) for one in sorted(denied))
    return f"{yes}, but not {no}" if no else yes


def minutes(number: float) -> str:
    """A limit in words."""
    return f"after {number:g} min" if number else "never"
