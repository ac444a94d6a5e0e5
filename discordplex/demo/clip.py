"""What the person in the demo says: three short sentences with time for an answer after each.

`hello.wav` (16 kHz mono) was synthesised with CMU Flite 2.2 and its voice `slt`. Flite and the voice have a free, BSD-like licence of
Carnegie Mellon University that puts no condition on speech made with them. The pauses are as long as the parrot needs: 0.7 s to decide that
a person has finished, the length of what it repeats, and half a second of silence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from discordplex.audio.wav import read_wav

FILE = "hello.wav"
WORDS = ("Hello there, parrot!", "How are you today?", "That is lovely. Goodbye!")


@dataclass(frozen=True, slots=True)
class SpokenClip:
    """ENGINE PCM to say, and the sentences in it where they are known."""

    pcm: bytes
    words: Sequence[str] = ()


def speech(file: Path | None) -> SpokenClip:
    """The person's own file, or the clip. Raises ConfigError with a sentence where the file is no WAV."""
    if file is not None:
        return SpokenClip(read_wav(file))
    with as_file(files("discordplex.demo").joinpath(FILE)) as clip:
        return SpokenClip(read_wav(clip), WORDS)
