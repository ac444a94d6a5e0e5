"""CallCaptions: writes a caption into a channel, keeps it in the transcript, or drops it."""

from dataclasses import replace

import structlog

from discordplex.bot import texts
from discordplex.bot.call.disclosure import Disclosure
from discordplex.bot.call.state import NOBODY_KNOWN, CallState
from discordplex.bot.call.transcripts import TranscriptWriter
from discordplex.bot.chat.notices import Notices
from discordplex.bot.guild_rules import Preferences
from discordplex.bot.texts.markdown import LONGEST_NAME
from discordplex.bridge.events import Caption
from discordplex.plaintext import one_line

log = structlog.get_logger()


class CallCaptions:
    """The captions of one call. What people say goes only where people were told that it goes. Thread: loop."""

    def __init__(
        self, state: CallState, *, disclosure: Disclosure, notices: Notices, preferences: Preferences, transcripts: TranscriptWriter | None
    ) -> None:
        """Without `transcripts`, nothing is kept, whatever the settings say."""
        self._state = state
        self._disclosure = disclosure
        self._notices = notices
        self._preferences = preferences
        self._transcripts = transcripts

    def show(self, caption: Caption) -> None:
        """Handle a caption: the text so far of one stretch of speech."""
        by_person = caption.role == "person"
        caption = replace(caption, text=one_line(caption.text))
        if by_person and (self._state.paused or caption.speaker in self._preferences.opted_out):
            return
        kept, published = self._disclosure.may_keep(caption), by_person and self._disclosure.may_publish(caption)
        self._disclosure.passed(caption)
        if kept and caption.text and self._transcripts:
            self._transcripts.hear(self._state, caption)
        if not by_person:
            self._notices.caption(self._state.voice_channel, (self._state.number, caption.key), caption.text, final=caption.final)
        elif published and caption.text:
            self._publish(caption)

    def drop_people(self) -> None:
        """Drop what people said, if it is not written or saved yet."""
        self._notices.drop_captions(call=self._state.number)
        if self._transcripts:
            self._transcripts.drop_people(self._state)

    def _publish(self, caption: Caption) -> None:
        """Write what a person says, with their name."""
        voice_channel = self._state.voice_channel
        channel = self._notices.captions_channel(voice_channel)
        if channel is None:
            return
        name = None if caption.speaker is None else voice_channel.name_in(channel, caption.speaker)
        text = f"{one_line(name or texts.waiting.SOMEBODY, LONGEST_NAME)}: {caption.text}"
        speaker = caption.speaker if caption.speaker is not None else NOBODY_KNOWN
        self._notices.caption(voice_channel, (self._state.number, caption.key), text, final=caption.final, speaker=speaker)
        if caption.final:
            # The demo reads it: each stretch that goes into the channel, in that order, and when it began.
            began_s_ago = None if caption.began_at is None else round(self._notices.clock.now() - caption.began_at, 3)
            log.debug("person captioned", began_s_ago=began_s_ago, channel=voice_channel.place.channel_id, call=self._state.number)
