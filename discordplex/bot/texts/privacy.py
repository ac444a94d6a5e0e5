"""What the bot says about who is heard and what is kept. Pure."""

from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bot.texts.calls import OPT_OUTS_UNKNOWN, told, use_of_speech
from discordplex.bot.texts.markdown import harmless
from discordplex.bot.texts.waiting import counted
from discordplex.plaintext import one_line
from discordplex.store.records import SaveStatus, StoredAboutPerson

DONT_LISTEN = "Don't listen to me"
LISTEN_AGAIN = "Listen to me again"
FORGET_ME = "Delete what is stored about me"
"""Buttons."""

NOT_HEARD = (
    "I do not hear you any more, in this call and in all others: your voice is discarded before it is decoded. "
    "To undo this, press the other button or use `/privacy`."
)
HEARD_AGAIN = "I hear you again."
HEARD_ALREADY = "I hear you already: you have not asked me not to listen."
NOTHING_STORED = "Nothing is stored about you."
FORGOTTEN = "It is deleted."
FORGOTTEN_BUT_SILENT = "It is deleted, except your wish not to be heard. Deleting your data does not allow me to hear you."


def to_be_forgotten(save_status: SaveStatus) -> str:
    """The database cannot be reached."""
    return f"It is not deleted yet. I delete it as soon as the database works again, and do not use it until then. {told(save_status.why)}"


def about_words(policy: RecordingPolicy) -> str:
    """What is done in this server with what people say, in the words of a call's notice."""
    goes_to = f"What you say in calls goes to {harmless(policy.engine)}"
    return f"{goes_to}, {use_of_speech(policy)}.{f' {OPT_OUTS_UNKNOWN}' if policy.opt_outs_unknown else ''}"


def not_read(policy: RecordingPolicy, why: str) -> str:
    """/privacy while the database cannot be reached."""
    return f"{about_words(policy)}\n{told(why)}"


def about_person(stored: StoredAboutPerson, policy: RecordingPolicy) -> str:
    """/privacy: what is done with what people say here, and all that is stored about the person who asks."""
    lines = [about_words(policy)]
    if stored.nothing:
        return f"{lines[0]}\n{NOTHING_STORED}"
    lines.append("Stored about you:")
    if stored.settings.opted_out:
        lines.append("- that you do not want to be heard")
    choice = stored.settings.choice
    if choice.voice is not None or choice.text_prompt is not None:
        parts = [
            f"voice {harmless(choice.voice)}" if choice.voice else "",
            f"role “{short(choice.text_prompt)}”" if choice.text_prompt else "",
        ]
        lines.append(f"- the persona that you chose: {', '.join(filter(None, parts))}")
    if stored.personas:
        lines.append(f"- {counted(len(stored.personas), 'saved persona')}: {short(', '.join(one.name for one in stored.personas))}")
    lines += [f"- that you are in the queue with <#{place.channel_id}>" for place in stored.waiting]
    said = sum(count for _, count in stored.transcript_lines)
    if said:
        servers = counted(len(stored.transcript_lines), "server")
        lines.append(f"- {counted(said, 'line')} of transcripts with your words, in {servers}")
    return "\n".join(lines)


def short(text: str) -> str:
    """Foreign text, shortened and made harmless."""
    return harmless(one_line(text, 200))
