"""Barge-in: people who speak during the engine's turn. Pure.

The beginning of a cough or an "mm-hm" sounds like that of an interruption, so there are two steps. When somebody begins to speak, playback
is held. A short sound lets it resume; a longer one cuts the turn off. Before the turn is audible there is nothing to cut off: the engine
then waits until people have finished, and answers anew where the person it answers had more to say.
"""

from dataclasses import dataclass

from discordplex.engine import SpeakerId

BACKCHANNEL_MS = 600
"""Speech over the engine's with less voiced sound than this is a backchannel ("mm-hm", "right", "okay") and is not answered."""


@dataclass(frozen=True, slots=True)
class BargeInDecision:
    """What the end of somebody's speech means for the turn."""

    keep: bool = True
    """Whether the speech is to be answered."""
    cut: bool = False
    resume: bool = False


class BargeIn:
    """The people who began to speak during one turn of the engine."""

    def __init__(self) -> None:
        self._over: dict[SpeakerId, bool] = {}

    @property
    def speakers(self) -> list[SpeakerId]:
        """Who they are. While there are any, playback is held."""
        return list(self._over)

    def began(self, speaker: SpeakerId, *, sounding: bool) -> bool:
        """Somebody certainly speaks; returns whether to hold playback because of it. `sounding`: the turn is audible, or already held."""
        first = not self._over
        self._over[speaker] = sounding
        return first

    def is_cut_by(self, speaker: SpeakerId, voiced_ms: float, asker: SpeakerId) -> bool:
        """Whether somebody who is still speaking has cut the turn off by now."""
        return voiced_ms >= BACKCHANNEL_MS and (self._over.get(speaker, False) or (speaker == asker and speaker in self._over))

    def ended(self, speaker: SpeakerId, voiced_ms: float | None, asker: SpeakerId) -> BargeInDecision:
        """Somebody has finished; `voiced_ms` is None where it was too short to be words."""
        if speaker not in self._over:
            return BargeInDecision(keep=voiced_ms is not None)
        over_sound = self._over.pop(speaker)
        if voiced_ms is None or (over_sound and voiced_ms < BACKCHANNEL_MS):
            return BargeInDecision(keep=False, resume=not self._over)
        if over_sound or speaker == asker:
            return BargeInDecision(cut=True)
        return BargeInDecision(resume=not self._over)

    def forget(self, speaker: SpeakerId) -> bool:
        """Stop counting this person; returns whether playback was held because of them alone."""
        return self._over.pop(speaker, None) is not None and not self._over

    def over(self) -> bool:
        """The turn is over; returns whether playback was held."""
        was_held = bool(self._over)
        self._over.clear()
        return was_held
