"""What the bot says about calls. Pure. `docs/troubleshooting.md` explains each sentence; a test compares that page with this file.

Text from outside (names, sentences of other packages) is made harmless here. Discord itself shows the names of channels (`<#id>`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discordplex.bot.recording_policy import SOMEWHERE, RecordingPolicy
from discordplex.bot.texts.markdown import LONGEST_NAME, harmless
from discordplex.bot.texts.waiting import SOMEBODY
from discordplex.engine import Persona, StandInReason
from discordplex.plaintext import one_line
from discordplex.store.records import SaveStatus

NO_CALL = "I am not in a call in this server. Use `/join` to call me."
STOPPED = "I have stopped: I hear nobody and say nothing. Use `/listen` to continue, or `/leave` to send me away."
STOPPED_ALREADY = "I have already stopped. Use `/listen` to continue."
LISTENS_AGAIN = "I hear you again."
LISTENS_ALREADY = "I am already listening."
FORGOTTEN = "I have forgotten what was said in this call."
STARTS_OVER = "I have forgotten what was said in this call, and start a new conversation. I hear you again in a few seconds."
NOT_MEASURED = "Nothing is measured in this call yet. Somebody has to speak first."


STAGES = {
    "uplink.wait_ms": "From a person's voice to the engine",
    "engine.uplink_write_ms": "Sending it to the engine",
    "engine.block_spacing_ms": "Time between two pieces of the engine's voice",
    "playout.hold_ms": "Buffering of the engine's voice",
    "voice.tx.lateness_ms": "Delay of our packets to Discord",
}
"""The histograms that /latency shows, in the order in which sound passes them."""


GAUGES = {
    "engine.handshake_ms": "Start of the engine",
    "voice.gateway.rtt_ms": "Round trip to Discord's voice server",
}


ADDRESS = re.compile(
    r"\b(?:wss?|https?)://[^\s,;)]*[^\s,;).:]"  # a URL
    r"|(?<![\w.-])[\w.-]+\.[\w-]+:\d{1,5}\b|\blocalhost:\d{1,5}\b"  # a host with its port
    r"|\[[0-9a-fA-F:.]+\](?::\d{1,5})?|\b\d{1,3}(?:\.\d{1,3}){3}\b"  # an IP address
)
"""The address of a server. People are told its name (`engine.name`); only the log has the address."""

LARGEST_SSRC = 2**32 - 1
"""User ids are larger: a snowflake has the time in its upper bits."""

ROLE_LENGTH = 120
"""Characters of a role that a notice shows."""

# What is said in the captions channel

MOST_NAMED = 3
"""How many people a greeting names."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What the greeting of a call says."""

    channel_id: int
    persona: Persona | None
    """None if the engine does not take a persona, or if that is not known yet."""
    policy: RecordingPolicy
    here: int | None = None
    """The channel where the greeting is posted."""
    people: Sequence[str] = ()
    """The people the bot came for, without those whose names may not be shown there."""
    privacy_code: str | None = None
    """The digits that verify the call's end-to-end encryption; None without encryption."""


OPT_OUTS_UNKNOWN = "I cannot read my settings, so I do not know who asked me not to listen. If you did, please press the button again."

CONTINUED = "This message is out of date. My newest message says what applies now."

END_OF_RECORD = (
    "I record nothing more in this call: no transcript, and no words in the chat. I may record only while everybody in the call can see a "
    "message of mine that says so. In this call, that message was deleted or had to be posted again too often. "
    "The next call starts fresh."
)
"""Posted once per call, after the last notice that is allowed."""


STILL_IN_THE_JOURNAL = (
    "A copy of the deleted data stays in the database's journal file while another program reads the database. "
    "I remove that copy as soon as I can."
)


def with_save_status(sentence: str, save_status: SaveStatus) -> str:
    """The result of a change, and whether it is saved."""
    if not save_status.saved:
        return f"{sentence} This applies now but is not saved yet. I save it as soon as the database works again. {told(save_status.why)}"
    return sentence if save_status.clean else f"{sentence} {STILL_IN_THE_JOURNAL}"


def hello(about: Introduction) -> str:
    """The bot has joined and opens the engine."""
    return f"{listening_to(about)} One moment: I hear you as soon as the engine is ready."


def listening(about: Introduction) -> str:
    """The engine is open: the bot hears and speaks."""
    code = f" Voice privacy code (your Discord shows the same one): `{grouped(about.privacy_code)}`." if about.privacy_code else ""
    lost = f" {OPT_OUTS_UNKNOWN}" if about.policy.opt_outs_unknown else ""
    return f"{listening_to(about)}{code}{lost} Go ahead, speak."


def listening_to(about: Introduction) -> str:
    """Who listens, where people's voices go and what is kept; then the people the bot came for, and its persona."""
    goes_to = f"what you say goes to {harmless(about.policy.engine)}"
    came_for = f" I came for {listed(about.people)}." if about.people else ""
    return (
        f"🎙️ I am listening in <#{about.channel_id}>: {goes_to}, {use_of_speech(about.policy, about.here)}.{came_for}"
        f"{f' You talk with {who(about.persona)}.' if about.persona else ''}"
    )


def use_of_speech(policy: RecordingPolicy, here: int | None = None) -> str:
    """What is done with people's words: the end of a sentence that is posted in the channel `here`."""
    parts = [f"is transcribed by {harmless(policy.transcribed_by)}"] if policy.transcribed_by else []
    if policy.recap_by:
        parts.append(f"is summed up for the engine by {harmless(policy.recap_by)}")
    if policy.published_in is not None:
        where = "the captions" if policy.published_in == SOMEWHERE else f"<#{policy.published_in}>"
        where = "this channel" if policy.published_in == here else where
        parts.append(f"your words are written into {where}, where Discord keeps them")
    if policy.keeps_people:
        parts.append(f"a transcript is kept, {SINCE}")
    if policy.published_in is None and not policy.keeps_people:
        parts.append("nothing of it is kept")
    own = f", but a transcript is kept of what I say, {SINCE}" if policy.kept and not policy.has_words else ""
    return f"and {', and '.join(parts)}{own}{after_the_call(policy)}"


def after_the_call(policy: RecordingPolicy) -> str:
    """What is posted when the call has ended: the end of the same sentence."""
    if not policy.notes:
        return ""
    if not policy.summed_up_by:
        return "; after the call I post who was there, and for how long"
    to = harmless(policy.summed_up_by)
    return f"; after the call the transcript goes to {to}, and I post a summary of it, who was there, and for how long"


SINCE = "because the admins of this server want one"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: the first few, then how many more."""
    shown = [named(name) for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        shown.append(f"{len(names) - MOST_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def named(name: str) -> str:
    """A person's name in a sentence: one line, no invisible characters, no mention; `SOMEBODY` if nothing visible is left."""
    return harmless(one_line(name, LONGEST_NAME)) or SOMEBODY


ENDED = "The call has ended after"


def ended(seconds: float) -> str:
    """The greeting after the end of the call."""
    return f"{ENDED} {length(seconds)}. I do not listen any more. The buttons also work for later calls."


INTERRUPTED = "The call has ended because I was interrupted. If I listen again, a newer message says so."
"""The greeting of a call whose process was killed, or lost its connection to Discord."""


def length(seconds: float) -> str:
    """The length of a call."""
    return f"{seconds:.0f} s" if seconds < 59.5 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 -- a minute, rounded


def moved(channel_id: int) -> str:
    """The greeting after the call has moved to another channel."""
    return f"I have moved to <#{channel_id}> and do not listen here any more."


def who(persona: Persona) -> str:
    """A persona in a sentence."""
    voice = f"the voice **{harmless(persona.voice)}**" if persona.voice else "its usual voice"
    return f"{voice} (“{harmless(one_line(persona.text_prompt, ROLE_LENGTH))}”)"


def grouped(digits: str) -> str:
    """A privacy code as Discord shows it: groups of five digits."""
    return " ".join(digits[start : start + 5] for start in range(0, len(digits), 5))


def changing(persona: Persona) -> str:
    """The engine is being opened with another persona."""
    return f"One moment, I am switching to {who(persona)}."


def changed(persona: Persona) -> str:
    """The engine is open with another persona."""
    return f"From now on you talk with {who(persona)}."


def stopped(name: str) -> str:
    """Somebody used /stop."""
    return f"{named(name)} asked me to stop: I hear nobody and say nothing until `/listen`."


def goes_on(name: str) -> str:
    """Somebody used /listen."""
    return f"{named(name)} asked me to continue: I hear you again."


def engine_lost(reason: str) -> str:
    """The engine could not be opened or was lost; the bot tries again."""
    return f"{told(reason)} I keep trying."


STANDS_IN: Mapping[StandInReason, str] = {
    "busy": "{preferred} is busy with other conversations",
    "failing": "{preferred} does not work at the moment",
    "minutes": "This server has used its minutes of {preferred} for now",
}


def stands_in(preferred: str, present: str, reason: StandInReason) -> str:
    """A call begins with another kind of engine than the preferred one."""
    why = STANDS_IN[reason].format(preferred=harmless(preferred))
    return f"{why[:1].upper()}{why[1:]}, so this call has {harmless(present)}."


STILL_OPENING = "The engine is still loading its voice and role. This takes longer than usual. I hear you as soon as it is done."
RENEWING = (
    "My engine can keep a conversation only for some minutes, so I am starting the next one. I hear you again in a few seconds: "
    "please say it once more then. I keep my voice and my role, and I know what was said last."
)
RENEWED = "I hear you again. I had to start a new conversation with my engine, and I know what was said last."
PERSONA_KEPT = "This engine always keeps its own voice and role. The conversation starts over with the same ones."
ENGINE_READY = "The engine is ready: I hear you."


def engine_ready(reason: str) -> str:
    """The engine is open for the first time, after `engine_lost`."""
    return f"{ENGINE_READY} What happened before: {told(reason)}"


def engine_back(reason: str) -> str:
    """The engine is open again, after `engine_lost`."""
    return f"The engine is back. What happened: {told(reason)}"


def engine_moved(reason: str) -> str:
    """The call continues on another server, after `engine_lost`."""
    return f"I switched to another engine; the conversation starts over. What happened: {told(reason)}"


def replaced(lost: str, present: str, reason: str) -> str:
    """The call continues with an engine of another kind."""
    who_lost = harmless(lost)
    return (
        f"{who_lost[:1].upper()}{who_lost[1:]} is not available any more. From now on you talk with {harmless(present)}, and what you say "
        f"goes there. What happened: {told(reason)}"
    )


def returns(preferred: str) -> str:
    """The call is about to return to the preferred kind of engine."""
    name = harmless(preferred)
    return (
        f"{name[:1].upper()}{name[1:]} is available again: in the next pause you talk with it, and from now on what you say goes there too."
    )


def stays(preferred: str, present: str) -> str:
    """After `returns`: that did not work."""
    name = harmless(preferred)
    return f"{name[:1].upper()}{name[1:]} does not take over after all: you still talk with {harmless(present)}."


def gave_up(reason: str) -> str:
    """The call ended because something failed."""
    return f"{told(reason)} I have left the channel. Use `/join` to call me back."


def could_not_join(channel_id: int, reason: str) -> str:
    """The bot could not join."""
    return f"I cannot join <#{channel_id}>: {told(reason)}"


def left_because(channel_id: int, reason: str) -> str:
    """The bot left a call's channel, in which it may not stay."""
    why = reason if reason.startswith("I ") else f"{reason[:1].lower()}{reason[1:]}"
    return f"I left <#{channel_id}> because {told(why)}"


def cannot_hear(speaker: int, reason: str) -> str:
    """Somebody is not heard, and what the bot can do about it was done: not the same in each call, so it is not listed."""
    return f"I cannot hear {somebody(speaker)}: {harmless(reason)}. Leaving the voice channel and entering it again may help."


def hears_again(speaker: int) -> str:
    """After `cannot_hear`."""
    return f"I can hear {somebody(speaker)} again."


def somebody(speaker: int) -> str:
    """A mention of the speaker; `somebody` if only the number (SSRC) of the stream is known."""
    return f"<@{speaker}>" if speaker > LARGEST_SSRC else "somebody"


def trouble(message: str) -> str:
    """Something failed, and the call continues."""
    return told(message)


def sent_away(name: str) -> str:
    """Somebody used /leave while people are in the call."""
    return f"{named(name)} asked me to leave. Use `/join` to call me back."


def elsewhere(channel_id: int) -> str:
    """The guild's call is in another channel."""
    return (
        f"I am talking in <#{channel_id}>. I can be in only one channel of a server. "
        "Go to that channel, or stay: I come here when that call ends."
    )


# Why a channel cannot be joined, or had to be left; each follows `could_not_join` or `left_because`

MISSING_PERMISSION = {
    "view_channel": "I may not see this channel. Give my role the permission View Channel.",
    "connect": "I may not enter this channel. Give my role the permission Connect.",
    "speak": "I may not speak in this channel. Give my role the permission Speak.",
}
AFK = "It is the server's AFK channel. Nobody can talk there."
NOT_LET_IN = "Discord did not let me in and did not say why. Try again, or check the channel's permissions and its user limit."
NO_VOICE_ROOM = "Discord does not tell clearly which voice channel I am in. Try again in a moment."
INTERNAL = "An internal error occurred. My log has the cause."


def full(limit: int) -> str:
    """The user limit is reached."""
    return f"It is full ({limit} of {limit}). Raise its user limit, or give my role the permission Move Members."


# What slash commands answer

NOT_IN_VOICE = "Enter a voice channel first, then use `/join` again."
COMMAND_FAILED = "That did not work because of an internal error. My log has the cause."
NOTHING_TO_LEAVE = "I am not in a voice channel of this server."
LEFT = "I have left the voice channel."
LEFT_QUEUE = "I am not in a voice channel of this server, and nobody here waits for me any more."
COMING_SOON = "I am leaving a call at the moment. I come right after that."


def joined(channel_id: int) -> str:
    """/join worked."""
    return f"I am in <#{channel_id}>."


def already_here(channel_id: int) -> str:
    """/join where the call is."""
    return f"I am already in <#{channel_id}>."


@dataclass(frozen=True, slots=True)
class CallStatus:
    """The call of a guild, as /status shows it."""

    channel_id: int
    phase: str
    engine: str
    persona: Persona | None
    """None if the engine keeps its own."""
    minutes: int
    tokens: tuple[int, int] = (0, 0)
    """What the engine took and gave, where it tells."""


@dataclass(frozen=True, slots=True)
class Status:
    """What /status shows."""

    call: CallStatus | None
    calls: int
    capacity: int
    queue_length: int
    own_places: Sequence[tuple[int, int]]
    """(channel id, number in the queue) of this guild's channels that wait."""
    auto_join: bool
    minutes: tuple[int, int] | None = None
    """What the guild has used of its minutes a day, and how many it has; None if there is no limit."""
    refused: str | None = None
    """Why the engine would refuse the persona; None if it would take it."""


def status(now: Status) -> str:
    """/status: the call, the engines in use, and the queue."""
    lines = [call_line(now.call) if now.call else "I am not in a call in this server."]
    lines.append(f"Engines: {now.calls} of {now.capacity} in use, {now.queue_length} waiting.")
    if now.minutes:
        used, limit = now.minutes
        lines.append(f"Minutes of this server in the last 24 hours: {used} of {limit} used, {limit - used} left.")
    lines += [f"<#{channel_id}> is number {number} in the queue." for channel_id, number in now.own_places]
    if not now.call and not now.own_places:
        lines.append("Enter a voice channel, and I join." if now.auto_join else "Enter a voice channel and use `/join`.")
    if now.refused:
        lines.append(told(now.refused))
    return "\n".join(lines)


def call_line(call: CallStatus) -> str:
    """The call of one guild in one line."""
    since = f"for {call.minutes} min" if call.minutes else "just now"
    voice = f"with the voice **{harmless(call.persona.voice)}** " if call.persona and call.persona.voice else ""
    tokens = f" Tokens: {call.tokens[0]:,} in, {call.tokens[1]:,} out." if any(call.tokens) else ""
    return f"In <#{call.channel_id}>: {call.phase}, {since}, {voice}on {harmless(call.engine)}.{tokens}"


def told(sentence: str) -> str:
    """A sentence from another package, made safe for a message: no addresses, no markdown, at most 600 characters."""
    flat = harmless(ADDRESS.sub("[address]", one_line(sentence, 600)))
    return flat if flat.endswith((".", "!", "?", "…")) else f"{flat}."


# What the operator reads


LOGIN_MISSING = (
    "There is no bot token. Create one at https://discord.com/developers/applications (your application, Bot, Reset Token), "
    "then set DISCORDPLEX_DISCORD__TOKEN or discord.token."
)
LOGIN_REFUSED = (
    "Discord refuses the bot token. Copy it again from https://discord.com/developers/applications (your application, Bot, Reset Token) "
    "and set DISCORDPLEX_DISCORD__TOKEN or discord.token."
)
MESSAGES_REFUSED = (
    "Discord does not let the bot read messages, which bot.prefix needs. Switch on the Message Content Intent at "
    "https://discord.com/developers/applications (your application, Bot), or remove bot.prefix."
)


OTHER_NUMBER_OF_SHARDS = (
    "The other processes of the bot began with another number. "
    "To change it, end all processes, and start them with the same discord.shards."
)
"""For the log: `discord.shards` differs between the processes of a cluster."""

TOO_FEW_SHARDS = (
    "Discord wants more connections, because the bot is in more servers. All processes change to the number that Discord recommends. "
    "Where discord.shards is set, end all processes, and start them with a larger number."
)
"""For the log: close code 4011 in a cluster."""

SHARD_STUCK = (
    "This process cannot connect it, and has others that are connected. Another process takes it. "
    "If that happens again, look at this machine's network and at its limit of open files."
)
"""For the log: one of a process's shards fails for long."""


def discord_unreachable(api_url: str, cause: str) -> str:
    """No server answers at Discord's address."""
    return f"Discord cannot be reached at {api_url} ({cause}); trying again."


def latency(measured: Mapping[str, Any]) -> str:
    """/latency: the measurements of a call; of each stage the newest 40 s."""
    lines = [
        f"- {name}: usually {ms(found['p50'])}, in 99 of 100 cases at most {ms(found['p99'])}"
        for key, name in STAGES.items()
        if (found := measured.get(key)) and found["count"]
    ]
    if not lines:
        return NOT_MEASURED
    lines += [f"- {name}: {ms(measured[key])}" for key, name in GAUGES.items() if measured.get(key)]
    return "\n".join(["Latency of this call:", *lines])


def ms(value: float) -> str:
    """Milliseconds with two significant digits or more."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"  # noqa: PLR2004 -- two digits are enough for anybody
