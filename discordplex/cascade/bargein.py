"""Who speaks into the engine's turn, and what that means for it. Pure.

In two steps, because nobody can tell a cough or an "mm-hm" from an interruption by its beginning. Whoever begins makes the engine hold;
what stays short lets it go on; what goes on cuts it off. Before the engine is heard there is nothing to be cut off: then it waits until
people have finished, and answers anew where the one it answers had more to say.
"""

from dataclasses import dataclass

from discordplex.engine import SpeakerId

BACKCHANNEL_MS = 600
""""Mm-hm", "right", "okay": voiced for less than this over the engine's own speech they ask for nothing."""


@dataclass(frozen=True, slots=True)
class BargeInDecision:
    """What the end of somebody's speech means."""

    keep: bool = True
    """Whether it is to be answered."""
    cut: bool = False
    resume: bool = False


class BargeIn:
    """The people who began to speak within one turn of the engine's."""

    def __init__(self) -> None:
        self._over: dict[SpeakerId, bool] = {}

    @property
    def speakers(self) -> list[SpeakerId]:
        """Who they are; while there are any, the engine holds."""
        return list(self._over)

    def began(self, speaker: SpeakerId, *, sounding: bool) -> bool:
        """Somebody certainly speaks; whether the engine is to hold because of it. `sounding`: they hear it, or it is held."""
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
        """This person is not listened to any more; whether the engine held because of them alone."""
        return self._over.pop(speaker, None) is not None and not self._over

    def over(self) -> bool:
        """The turn is over; whether the engine was holding."""
        was_held = bool(self._over)
        self._over.clear()
        return was_held
