"""Disclosure: the notice about what is done with people's words. Nothing is recorded before it is delivered."""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import discord
import structlog

from discordplex.bot import texts
from discordplex.bot.chat.channel import VoiceChannel
from discordplex.bot.chat.notices import Notices
from discordplex.bot.chat.poster import DeliveryStatus
from discordplex.bot.place import Place
from discordplex.bot.recording_policy import RecordingPolicy
from discordplex.bridge.events import Caption
from discordplex.engine import SpeakerId

log = structlog.get_logger()

MOST_NOTICES = 20
"""The most new notices in one call. After that (moderators delete them, or people come who cannot read back), nothing more is recorded in
that call, and the channel is told so once."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The content of a notice."""

    voice_channel: VoiceChannel
    policy: RecordingPolicy
    """What the settings want."""
    text: Callable[[RecordingPolicy, Any], str]
    """Makes the text for a policy and the channel where it is posted."""
    view: discord.ui.View | None = None


class Disclosure:
    """The notice of one call. `show` posts it; `may_keep` and `may_publish` say what may be done with a caption. Thread: loop.

    A notice counts when Discord has accepted it as a new message (an edit notifies nobody) in a channel that everybody in the call can see,
    including what was written before they came. Without such a channel, the notice says that nothing is recorded, and nothing is.
    """

    def __init__(self, notices: Notices, number: int, *, speaking: Callable[[], AbstractSet[SpeakerId]] = frozenset) -> None:
        """`number` is the number of the call; `speaking` gives who is speaking now."""
        self._speaking = speaking
        self.settled = asyncio.Event()
        """Set when it is known whether people could be told."""
        self._notices = notices
        self._number = number
        self._serial = 0
        self._wanted: Notice | None = None
        self._channel: Any | None = None
        self._stated: RecordingPolicy | None = None
        self._told: RecordingPolicy | None = None
        self._witnesses: frozenset[int] = frozenset()
        self._in_force: RecordingPolicy | None = None
        self._place: Place | None = None
        self._refused: set[int] = set()
        self._ended_record = False
        self._unkept = self._unpublished = 0
        self._kept_since = self._published_since = self._notes_since = notices.clock.now()
        """Since when people know that their words are kept, are published, and are summed up for notes."""
        self._mid_speech: set[SpeakerId] = set()

    @property
    def in_force(self) -> RecordingPolicy | None:
        """What people were told, and so what is done; None if no notice was delivered."""
        return self._in_force

    @property
    def falls_short(self) -> bool:
        """Whether the settings want a record that is not made, because not everybody in the call could be told."""
        wanted = self._wanted.policy if self._wanted else None
        return wanted is not None and wanted.needs_notice and (self._in_force is None or wanted.records_more_than(self._in_force))

    def show(self, notice: Notice) -> None:
        """Post the notice: edit the last message, or post a new one if people must be notified of more."""
        self._wanted = notice
        policy, channel = notice.policy, None
        if policy.needs_notice:
            channel = self._seen_by_everybody(notice.voice_channel)
            if channel and self._needs_new(notice.voice_channel, channel, policy) and self._serial >= MOST_NOTICES:
                self._tell_end_of_record(channel)
                channel = None
        if channel is None:
            policy, channel = policy.without_records(), self._seen_by_anybody(notice.voice_channel)
        if self._stated and self._stated.published_in is not None and policy.published_in is None:
            self._notices.drop_captions(call=self._number)  # captions that wait are not written either
        if channel is None:
            self._leave(texts.calls.CONTINUED)
            self._channel = self._stated = None
            self.settled.set()
            return
        if self._needs_new(notice.voice_channel, channel, policy):
            moved = self._place != notice.voice_channel.place
            gone_on = moved and self._channel is not None and bool(self._channel.id != channel.id)
            self._leave(texts.calls.moved(notice.voice_channel.place.channel_id) if gone_on else texts.calls.CONTINUED)
            self._serial += 1
            self.settled.clear()
        self._channel, self._place, self._stated = channel, notice.voice_channel.place, policy
        self._write(notice, channel, policy)
        self._judge(notice.voice_channel)

    def _tell_end_of_record(self, channel: Any) -> None:
        """Post once per call that no further notice is posted, and so nothing more is recorded."""
        if not self._ended_record:
            self._ended_record = True
            log.warning("nothing more is recorded in a call", cause="too many notices", channel=channel.id, call=self._number)
            self._notices.say_in(channel, texts.calls.END_OF_RECORD, key=(self._number, "end of record"))

    def look_again(self) -> None:
        """The channels that people can see may have changed."""
        if self._wanted and self._wanted.policy.needs_notice:
            self.show(self._wanted)

    def allows_ears(self) -> bool:
        """Whether what people say may be sent to the transcription beside the engine: they know of it."""
        return self._in_force is not None and bool(self._in_force.transcribed_by)

    def allows_summary(self, holds_people: bool) -> bool:  # noqa: FBT001 -- one caller, by position
        """Whether what was said may be summed up for the engine: no words of people are in it (`holds_people`), or they know of it."""
        policy = self._in_force
        return policy is not None and (bool(policy.recap_by) or not (holds_people or policy.has_words))

    @property
    def channel(self) -> Any | None:
        """Where the notice is; None if there is none."""
        return self._channel

    @property
    def notes_place(self) -> tuple[Any, float] | None:
        """Where people were told that notes are posted, and how many seconds ago; None if they were not told."""
        if self._in_force is None or not self._in_force.notes:
            return None
        return self._channel, self._notices.clock.now() - self._notes_since

    def may_keep(self, caption: Caption) -> bool:
        """Whether this caption may be stored: all of it was said after people had been told."""
        now = self._in_force
        if now is None or not (now.kept if caption.role == "engine" else now.keeps_people):
            self._unkept = max(self._unkept, caption.key)
        return caption.key > self._unkept and self._was_said_since(self._kept_since, caption)

    def may_publish(self, caption: Caption) -> bool:
        """Whether what a person says in this caption may be published, by the same rule."""
        if self._in_force is None or self._in_force.published_in is None:
            self._unpublished = max(self._unpublished, caption.key)
        return caption.key > self._unpublished and self._was_said_since(self._published_since, caption)

    def _was_said_since(self, since: float, caption: Caption) -> bool:
        """Whether it was said after `since`. A transcription may come long after the words; captions of the engine come with the sound."""
        if caption.role == "engine":
            return True
        return caption.speaker not in self._mid_speech and (caption.began_at is None or caption.began_at >= since)

    def passed(self, caption: Caption) -> None:
        """Call this after both questions. A person who was speaking when people were told is recorded from their next caption on."""
        if caption.final and caption.speaker is not None:
            self._mid_speech.discard(caption.speaker)

    def end(self, text: str) -> None:
        """The call is over: the notice says so. Its buttons stay, because an opt-out also applies to later calls."""
        self._leave(text)
        self._wanted = self._channel = self._stated = None
        self.settled.set()

    def _needs_new(self, voice_channel: VoiceChannel, channel: Any, policy: RecordingPolicy) -> bool:
        if self._channel is None or self._stated is None or self._channel.id != channel.id:
            return True
        if not policy.needs_notice:
            return False
        return policy.records_more_than(self._stated) or (self._told is not None and not self._seen(voice_channel, channel))

    def _seen(self, voice_channel: VoiceChannel, channel: Any) -> bool:
        """Whether everybody in the call could see the notice: they were there when it came, or can read back."""
        return voice_channel.people <= (self._witnesses & voice_channel.viewers(channel)) | voice_channel.readers(channel)

    def _seen_by_everybody(self, voice_channel: VoiceChannel) -> Any | None:
        candidates = (one for one in voice_channel.disclosure_channels if one.id not in self._refused)
        return next((one for one in candidates if voice_channel.people <= voice_channel.viewers(one)), None)

    def _seen_by_anybody(self, voice_channel: VoiceChannel) -> Any | None:
        candidates = (voice_channel.notices_channel, voice_channel.spare_channel)
        return next((one for one in candidates if one is not None and one.id not in self._refused), None)

    def _write(self, notice: Notice, channel: Any, policy: RecordingPolicy) -> None:
        serial, voice_channel = self._serial, notice.voice_channel

        def on_delivery(status: DeliveryStatus) -> None:
            if serial != self._serial or self._channel != channel:
                return
            if status == "taken":
                self._delivered(voice_channel, policy)
            elif status == "refused":
                self._refused.add(channel.id)
                self._write_anew()
            elif policy.needs_notice:
                self._write_anew()

        self._notices.say_in(
            channel,
            notice.text(policy, channel),
            key=self._key,
            view=notice.view,
            on_delivery=on_delivery,
            call_in=voice_channel.place.guild_id,
        )

    def _delivered(self, voice_channel: VoiceChannel, policy: RecordingPolicy) -> None:
        if self._told is None:
            self._told = policy
            self._witnesses = voice_channel.people
            self._mid_speech = set(self._speaking())
        self.settled.set()
        self._judge(voice_channel)

    def _write_anew(self) -> None:
        self._told = self._in_force = self._channel = self._stated = None
        if self._wanted:
            self.show(self._wanted)

    def _judge(self, voice_channel: VoiceChannel) -> None:
        """Decide what people know, and so what may be done."""
        known = self._told is not None and self._stated is not None and not self._stated.records_more_than(self._told)
        seen = known and (not (self._stated and self._stated.needs_notice) or self._seen(voice_channel, self._channel))
        before, self._in_force = self._in_force, self._stated if seen else None
        if not (before and before.keeps_people):
            self._kept_since = self._notices.clock.now()
        if not (before and before.published_in is not None):
            self._published_since = self._notices.clock.now()
        if not (before and before.notes):
            self._notes_since = self._notices.clock.now()

    def _leave(self, text: str) -> None:
        """Replace the text of the current notice for good."""
        if self._channel is not None:
            self._notices.say_in(self._channel, text, key=self._key, last=True)
        self._told = self._in_force = None

    @property
    def _key(self) -> tuple[int, str, int]:
        return (self._number, "hello", self._serial)
