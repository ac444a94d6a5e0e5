"""What stands where the model would be: echo, parrot and talker."""

import numpy as np
import pytest

from discordplex.audio.format import MODEL_STEP_MS
from discordplex.audio.samples import rms_of
from discordplex.loopback.personaplex.codec import STEP_BYTES
from discordplex.loopback.personaplex.parrot import MEMORY_STEPS, Parrot, ParrotState, pieces_about
from discordplex.loopback.personaplex.talker import PAUSE_STEPS, Talker, clip, steps_of
from discordplex.loopback.personaplex.voice_model import SILENT_STEP, Echo, ModelOutput, VoiceModel

NOISE = np.random.default_rng(3)


def loud(seed: int = 0) -> bytes:
    return (NOISE.normal(0, 3000, STEP_BYTES // 2) + seed).astype("<i2").tobytes()


def run(model: VoiceModel, steps: list[bytes]) -> list[ModelOutput]:
    return [model.step(heard) for heard in steps]


def silence(milliseconds: int) -> list[bytes]:
    return [SILENT_STEP] * (milliseconds // MODEL_STEP_MS)


def text_of(spoken: list[ModelOutput]) -> str:
    return "".join(piece for step in spoken for piece in step.pieces)


def test_the_echo_says_what_it_hears() -> None:
    """The same step at once."""
    step = loud()
    assert Echo().step(step) == ModelOutput(step)


def test_the_parrot_repeats_after_a_pause() -> None:
    """1.6 s of speech, a pause, and it says the same 1.6 s with a line about it; before and after it is silent."""
    speech = [loud() for _ in range(20)]
    parrot = Parrot()
    listening = run(parrot, [*silence(800), *speech, *silence(640)])
    assert {step.pcm for step in listening} == {SILENT_STEP}
    spoken = run(parrot, silence(4000))
    said = [step.pcm for step in spoken if step.pcm != SILENT_STEP]
    assert said == speech
    assert text_of(spoken) == " I heard you for 1.6 s."
    assert parrot.turn is ParrotState.WAITING


def test_the_parrot_is_not_woken_by_a_whisper_of_noise() -> None:
    """Sound below the gate is no speech."""
    parrot = Parrot()
    faint = NOISE.normal(0, 60, STEP_BYTES // 2).astype("<i2").tobytes()
    run(parrot, [faint] * 50)
    assert parrot.turn is ParrotState.WAITING
    assert rms_of(faint) < 0.005


def test_a_short_pause_belongs_to_the_speech() -> None:
    """Half a second between words ends nothing."""
    parrot = Parrot()
    run(parrot, [loud(), *silence(560), loud()])
    assert parrot.turn is ParrotState.LISTENING


def test_the_parrot_stops_when_it_is_interrupted() -> None:
    """New speech in the middle of its words silences it at once, and is what it repeats next."""
    parrot = Parrot()
    run(parrot, [*(loud() for _ in range(20)), *silence(720)])
    assert parrot.turn is ParrotState.SPEAKING
    run(parrot, silence(240))
    interruption = [loud(), loud()]
    assert run(parrot, interruption) == [ModelOutput(), ModelOutput()]
    spoken = run(parrot, silence(4000))
    assert [step.pcm for step in spoken if step.pcm != SILENT_STEP] == interruption


def test_the_parrot_remembers_a_minute() -> None:
    """Of a longer speech it repeats the end, and its memory stays bounded."""
    parrot = Parrot()
    speech = [loud()] * (MEMORY_STEPS + 100)
    run(parrot, speech)
    spoken = run(parrot, silence(70_000))
    assert len([step for step in spoken if step.pcm != SILENT_STEP]) <= MEMORY_STEPS


def test_a_line_longer_than_the_speech_is_written_whole() -> None:
    """One word of 80 ms still gets its whole line."""
    parrot = Parrot()
    spoken = run(parrot, [loud(), *silence(2000)])
    assert text_of(spoken) == " I heard you for 0.1 s."


def test_pieces_are_cut_as_a_tokenizer_cuts_them() -> None:
    """Words begin with their space; digits come one by one."""
    assert pieces_about(1.6) == [" I", " heard", " you", " for", " ", "1", ".", "6", " s", "."]


def test_the_clip_is_speech_with_text() -> None:
    """Some eight seconds, loud enough to be heard, its words spread over it in order."""
    found = clip()
    assert 8_000 <= found.duration_ms <= 12_000
    assert found.text == (
        " Hello there. I am the stand-in. I keep talking while you talk, so you can hear that both directions work at once."
        " Say something whenever you like."
    )
    assert rms_of(b"".join(step.pcm for step in found.steps)) > 0.03
    assert sum(bool(step.pieces) for step in found.steps) > 25


def test_words_come_when_they_are_said() -> None:
    """A step that carries a word's first piece is voiced by the next step at the latest."""
    steps = clip().steps
    for index, step in enumerate(steps):
        if any(piece.startswith(" ") for piece in step.pieces):
            assert max(rms_of(later.pcm) for later in steps[index : index + 2]) > 0.005


def test_the_talker_talks_whatever_it_hears() -> None:
    """It does not wait for a pause, and begins anew after one of its own."""
    once = len(clip().steps) + PAUSE_STEPS
    interrupted = run(Talker(), [loud() for _ in range(once)])
    undisturbed = run(Talker(), [SILENT_STEP] * (once + 1))
    assert interrupted == undisturbed[:-1]
    assert undisturbed[-1] == undisturbed[0]


@pytest.mark.parametrize("at_ms", [0, 79, 80, 159, 5000])
def test_a_piece_belongs_to_its_step(at_ms: int) -> None:
    """The step is where its time falls, the last one where it is beyond the end."""
    steps = steps_of(bytes(2 * STEP_BYTES - 2), [("x", at_ms)])
    assert len(steps) == 2
    assert steps[min(at_ms // 80, 1)].pieces == ("x",)
