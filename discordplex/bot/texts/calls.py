"""Every sentence the bot may say. Pure. `docs/troubleshooting.md` explains each, and a test holds it against this file.

What comes from outside (names, sentences of other rooms) is made harmless here; channels are shown by Discord itself (`<#id>`).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from discordplex.bot.practice import SOMEWHERE, Practice
from discordplex.bot.texts.markdown import LONGEST_NAME, harmless, shorten
from discordplex.bot.texts.waiting import SOMEBODY
from discordplex.engine import Persona
from discordplex.plaintext import one_line
from discordplex.store.records import SaveStatus

NO_CALL = "I am in no call in this server. `/join` calls me."
STOPPED = "I have stopped: nobody is heard, and I say nothing. `/listen` lets me go on, `/leave` sends me away."
STOPPED_ALREADY = "I have stopped already. `/listen` lets me go on."
LISTENS_AGAIN = "I hear you again."
LISTENS_ALREADY = "I am listening already."
FORGOTTEN = "I have forgotten what was said in this call."
REMEMBERS_NOTHING = "This engine keeps no list of what was said that could be forgotten; `/leave` and `/join` begin anew."
NOT_MEASURED = "Nothing is measured in this call yet: somebody has to speak first."


STAGES = {
    "uplink.wait_ms": "From a person's sound to the engine",
    "engine.uplink_write_ms": "Writing it to the engine",
    "engine.block_spacing_ms": "From one piece of the engine's sound to the next",
    "playout.hold_ms": "The engine's sound, held so that it does not tear",
    "voice.tx.lateness_ms": "Sent later than it should be",
}
"""The histograms that people are shown, in the order of the way."""


GAUGES = {
    "engine.handshake_ms": "Until the engine listened",
    "voice.gateway.rtt_ms": "To Discord's voice server and back",
}


ADDRESS = re.compile(
    r"\b(?:wss?|https?)://[^\s,;)]*[^\s,;).:]"  # a URL
    r"|(?<![\w.-])[\w.-]+\.[\w-]+:\d{1,5}\b|\blocalhost:\d{1,5}\b"  # a host with its port
    r"|\[[0-9a-fA-F:.]+\](?::\d{1,5})?|\b\d{1,3}(?:\.\d{1,3}){3}\b"  # an IP address
)
"""Where a server is. People are told what it is (`engine.name`), and the log where."""

LARGEST_SSRC = 2**32 - 1
"""Ids of users are larger (a snowflake holds the time in its upper bits)."""

ROLE_LENGTH = 120
"""Characters of a role that a notice shows."""

# What is said in the captions channel

PERSONAPLEX = "PersonaPlex"
CASCADE = "the cascade (speech recognition, a language model and a synthetic voice)"
"""The engines in people's words, where `engine.name` does not say it better."""

MOST_NAMED = 3
"""People whom a greeting names."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a call says about itself."""

    channel_id: int
    persona: Persona | None
    """None where it is not known yet whether the engine takes it, or where it does not."""
    practice: Practice
    here: int | None = None
    """The channel in which it is said."""
    people: Sequence[str] = ()
    """The names of those for whom the bot came, as far as they may be read there."""
    privacy_code: str | None = None
    """The digits of the call's end-to-end encryption, None where there is none."""


FORGETFUL = "My settings cannot be read, so I do not know who asked me earlier not to listen: please press the button again."

CONTINUED = "What I said here has changed since. My newest message says what holds now."

END_OF_RECORD = (
    "I record nothing more in this call: neither a transcript nor words in the chat. I may do that only while a message of mine that says "
    "so can be seen by everybody in the call, and in this call that message was deleted, or had to be posted anew, too often. "
    "The next call begins anew."
)
"""What a call's channel is told, once, when no further notice is posted."""


STILL_IN_THE_JOURNAL = (
    "Until another program stops reading the database's file, a copy of what was deleted stays in the journal beside it; "
    "I remove that as soon as I can."
)


def as_it_stands(sentence: str, standing: SaveStatus) -> str:
    """What came of a change, and whether it is saved."""
    if not standing.saved:
        return f"{sentence} That holds now, but is not saved yet: I save it as soon as the database takes it. {told(standing.why)}"
    return sentence if standing.clean else f"{sentence} {STILL_IN_THE_JOURNAL}"


def engine_named(name: str, *, transcribes: bool) -> str:
    """How people are told of an engine; `name` is what its operator calls it."""
    return name or (CASCADE if transcribes else PERSONAPLEX)


def hello(about: Introduction) -> str:
    """The bot has come and the engine is being opened."""
    return f"{listening_to(about)} One moment: I hear you as soon as the engine has got ready."


def listening(about: Introduction) -> str:
    """The engine is there."""
    code = f" Voice privacy code, the same as in your Discord: `{grouped(about.privacy_code)}`." if about.privacy_code else ""
    lost = f" {FORGETFUL}" if about.practice.forgetful else ""
    return f"{listening_to(about)}{code}{lost} Go ahead, speak."


def listening_to(about: Introduction) -> str:
    """Who listens, where people's voices go and what is kept; then for whom the bot came and to whom they talk."""
    goes_to = f"what you say goes to {harmless(about.practice.engine)}"
    came_for = f" I came for {listed(about.people)}." if about.people else ""
    return (
        f"🎙️ I am listening in <#{about.channel_id}>: {goes_to}, {fate(about.practice, about.here)}.{came_for}"
        f"{f' You talk with {who(about.persona)}.' if about.persona else ''}"
    )


def fate(practice: Practice, here: int | None = None) -> str:
    """What becomes of people's words, as the end of a sentence that is read in the channel `here`."""
    parts = []
    if practice.published_in is not None:
        where = "the captions" if practice.published_in == SOMEWHERE else f"<#{practice.published_in}>"
        where = "this channel" if practice.published_in == here else where
        parts.append(f"your words are written into {where}, where Discord keeps them")
    if practice.keeps_people:
        parts.append(f"a transcript is kept, {SINCE}")
    if not parts:
        parts.append("nothing of it is kept")
    if practice.kept and not practice.transcribes:
        return f"and {', and '.join(parts)}, but a transcript is kept of what I say, {SINCE}"
    return f"and {', and '.join(parts)}"


SINCE = "since the admins of this server want one"


def listed(names: Sequence[str]) -> str:
    """Some names in a sentence; what is beyond a few is counted."""
    shown = [named(name) for name in names[:MOST_NAMED]]
    if len(names) > MOST_NAMED:
        shown.append(f"{len(names) - MOST_NAMED} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def named(name: str) -> str:
    """A person's name in a sentence: one line without anything unseen, and no mention. Some names have nothing that is seen."""
    return harmless(one_line(name, LONGEST_NAME)) or SOMEBODY


ENDED = "The call has ended after"


def ended(seconds: float) -> str:
    """What the greeting becomes when the call is over."""
    return f"{ENDED} {length(seconds)}: I do not listen any more. The buttons hold for later calls too."


def length(seconds: float) -> str:
    """How long a call was."""
    return f"{seconds:.0f} s" if seconds < 59.5 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 -- a minute, rounded


def moved(channel_id: int) -> str:
    """What the greeting becomes when the call has gone to another channel."""
    return f"I have gone to <#{channel_id}> and do not listen here any more."


def who(persona: Persona) -> str:
    """A persona in a sentence."""
    return f"the voice **{harmless(persona.voice)}** (“{harmless(shorten(persona.text_prompt, ROLE_LENGTH))}”)"


def grouped(digits: str) -> str:
    """A privacy code as Discord shows it, five digits a group."""
    return " ".join(digits[start : start + 5] for start in range(0, len(digits), 5))


def changing(persona: Persona) -> str:
    """The engine is being opened as somebody else."""
    return f"One moment, I am changing into {who(persona)}."


def changed(persona: Persona) -> str:
    """It is there as somebody else."""
    return f"From now on you talk with {who(persona)}."


def stopped(name: str) -> str:
    """Somebody used /stop."""
    return f"{named(name)} asked me to stop: I hear nobody and say nothing until `/listen`."


def goes_on(name: str) -> str:
    """Somebody used /listen."""
    return f"{named(name)} asked me to go on: I hear you again."


def engine_lost(reason: str) -> str:
    """The engine could not be opened or went away, and is tried again."""
    return f"{told(reason)} I keep trying."


STILL_OPENING = "The engine is still loading its voice and role, which takes longer than usual; I hear you as soon as it is done."
PERSONA_KEPT = "This engine has a voice and a role of its own and keeps them: the conversation begins anew, with nobody else."
ENGINE_READY = "The engine is ready: I hear you."


def engine_ready(reason: str) -> str:
    """The engine is there for the first time, after `engine_lost`."""
    return f"{ENGINE_READY} Before that: {told(reason)}"


def engine_back(reason: str) -> str:
    """The engine is there again after `engine_lost`."""
    return f"The engine is here again. It was away for a moment: {told(reason)}"


def engine_moved(reason: str) -> str:
    """The call went on at another server after `engine_lost`."""
    return f"I switched to another engine; the conversation starts over. What happened: {told(reason)}"


def gave_up(reason: str) -> str:
    """The call ended although nobody wanted it to."""
    return f"{told(reason)} I have left the channel; `/join` calls me back."


def could_not_join(channel_id: int, reason: str) -> str:
    """No call came about."""
    return f"I cannot join <#{channel_id}>: {told(reason)}"


def cannot_hear(speaker: int, reason: str) -> str:
    """Somebody is not heard, although everything was tried."""
    return (
        f"I cannot hear {somebody(speaker)}: {harmless(reason)}. I have asked for new keys and connected anew, in vain; "
        "leaving the voice channel and entering it again may help."
    )


def hears_again(speaker: int) -> str:
    """After `cannot_hear`."""
    return f"I hear {somebody(speaker)}. For a while I could not."


def somebody(speaker: int) -> str:
    """Who it is, as Discord shows it; the number of a stream is nobody's name."""
    return f"<@{speaker}>" if speaker > LARGEST_SSRC else "somebody"


def trouble(message: str) -> str:
    """Something failed and the call goes on."""
    return told(message)


def sent_away(name: str) -> str:
    """Somebody used /leave while people are in the call."""
    return f"{named(name)} asked me to leave. `/join` calls me back."


def elsewhere(channel_id: int) -> str:
    """The guild's call is in another channel."""
    return (
        f"I am talking in <#{channel_id}> and can be in one channel of a server only. Come over, or stay: I come here when that call ends."
    )


# Why a channel cannot be joined; each follows `could_not_join`

MISSING_PERMISSION = {
    "view_channel": "I may not see this channel. Give my role the permission View Channel.",
    "connect": "I may not enter this channel. Give my role the permission Connect.",
    "speak": "I may not speak in this channel. Give my role the permission Speak.",
}
AFK = "It is the server's AFK channel, in which nobody can talk."
NOT_LET_IN = "Discord did not let me in, and did not say why. Try again, or look at the channel's permissions and its user limit."
NO_VOICE_ROOM = "Discord and I do not agree on where I am. Try again in a moment."
INTERNAL = "Something in me failed; my log has the cause."


def full(limit: int) -> str:
    """The user limit is reached."""
    return f"It is full ({limit} of {limit}). Raise its user limit, or give my role the permission Move Members."


# What slash commands answer

NOT_IN_VOICE = "Enter a voice channel first, then use `/join` again."
COMMAND_FAILED = "That did not work, and it is my fault; my log has the cause."
NOTHING_TO_LEAVE = "I am in no voice channel of this server."
LEFT = "I have left the voice channel."
LEFT_QUEUE = "I am in no voice channel of this server, and nobody of it waits for me any more."
COMING_SOON = "I am just leaving; I come as soon as I have left."


def joined(channel_id: int) -> str:
    """/join worked."""
    return f"I am in <#{channel_id}>."


def already_here(channel_id: int) -> str:
    """/join where the call is."""
    return f"I am in <#{channel_id}> already."


@dataclass(frozen=True, slots=True)
class CallStatus:
    """A guild's call, as /status shows it."""

    channel_id: int
    phase: str
    engine: str
    persona: Persona | None
    """None where the engine keeps its own."""
    minutes: int


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
    refused: str | None = None
    """Why the engine would refuse the persona, None where it would not."""


def status(now: Status) -> str:
    """/status: who it talks with, who waits."""
    lines = [call_line(now.call) if now.call else "I am in no call in this server."]
    lines.append(f"Engines: {now.calls} of {now.capacity} in use, {now.queue_length} waiting.")
    lines += [f"<#{channel_id}> is number {number} in the queue." for channel_id, number in now.own_places]
    if not now.call and not now.own_places:
        lines.append("Enter a voice channel and I come." if now.auto_join else "Enter a voice channel and use `/join`.")
    if now.refused:
        lines.append(told(now.refused))
    return "\n".join(lines)


def call_line(call: CallStatus) -> str:
    """One guild's call in one line."""
    since = f"for {call.minutes} min" if call.minutes else "just now"
    voice = f"with the voice **{harmless(call.persona.voice)}** " if call.persona else ""
    return f"In <#{call.channel_id}>: {call.phase}, {since}, {voice}on {harmless(call.engine)}."


def told(sentence: str) -> str:
    """A sentence of another room, fit for a message."""
    flat = harmless(ADDRESS.sub("[address]", shorten(sentence, 600)))
    return flat if flat.endswith((".", "!", "?", "…")) else f"{flat}."


# What the operator reads


LOGIN_MISSING = (
    "There is no bot token. Make one at https://discord.com/developers/applications (your application, Bot, Reset Token), "
    "then set DISCORDPLEX_DISCORD__TOKEN or discord.token."
)
LOGIN_REFUSED = (
    "Discord refuses the bot token. Copy it again from https://discord.com/developers/applications (your application, Bot, Reset Token) "
    "and set DISCORDPLEX_DISCORD__TOKEN or discord.token."
)
MESSAGES_REFUSED = (
    "Discord does not let the bot read messages, which bot.prefix needs. Switch on the Message Content Intent at "
    "https://discord.com/developers/applications (your application, Bot), or take bot.prefix away."
)
TOO_MANY_GUILDS = "The bot is in more servers than one connection may serve; discordplex does not split itself over several."


def discord_unreachable(api_url: str, cause: str) -> str:
    """Nobody answers where Discord should be."""
    return f"Discord cannot be reached at {api_url} ({cause}); trying again."


def latency(measured: Mapping[str, Any]) -> str:
    """/latency: a call's measurements in words, the newest 40 s of each stage."""
    lines = [
        f"- {name}: {ms(found['p50'])} as a rule, {ms(found['p99'])} at worst (of 100)"
        for key, name in STAGES.items()
        if (found := measured.get(key)) and found["count"]
    ]
    if not lines:
        return NOT_MEASURED
    lines += [f"- {name}: {ms(measured[key])}" for key, name in GAUGES.items() if measured.get(key)]
    return "\n".join(["This call, measured:", *lines])


def ms(value: float) -> str:
    """Milliseconds, as exactly as they matter."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"  # noqa: PLR2004 -- two digits are enough for anybody
