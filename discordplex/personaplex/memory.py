"""What a model keeps in its memory, and what a new conversation is told of the call so far. Pure.

The model's memory is a ring of 3,000 steps of 80 ms. Its prompts come first, one step for each frame of the voice and each token of the
role, so they are also the first to be overwritten, and with them go the voice and the role. Nothing happens then that a client could see.

Each token of the role takes a step, which costs 50 to 60 ms until the model listens. So the recap is short: the last things said, verbatim,
or a summary where there is one. It is worded as the facts are that the model was trained on, "Information: ..." after the role.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from discordplex.engine import Recap, RecapTurn
from discordplex.personaplex.endpoint import check_prompt, estimated_tokens

WINDOW_STEPS: Final = 3000
VOICE_STEPS: Final = 62
"""A voice has 50 frames; 6 steps of silence follow it and 6 the role."""

FEWEST_CHARACTERS: Final = 12
"""A turn of which less would fit is left out."""

LONGEST_WORD: Final = 30
"""Characters within which a space is looked for; a turn is cut between two characters where there is none."""

SYSTEM_TAG: Final = "<system>"
"""NVIDIA's server puts a role between two of these, unless it has them already."""

BEGINNING: Final = " Information: You have talked for a while."


def memory_s(window_s: float, text_prompt: str) -> float | None:
    """How long a conversation with this role keeps its voice; None where `window_s` is 0, which means for ever.

    `window_s` is how long the whole ring lasts. The prompts take the same share of it, however long it is set.
    """
    steps = VOICE_STEPS + estimated_tokens(text_prompt)
    return window_s * max(0.1, 1 - steps / WINDOW_STEPS) if window_s else None


def with_recap(text_prompt: str, recap: Recap, max_tokens: int) -> str:
    """The role, and after it what was said in the call, in at most `max_tokens` and what a server takes."""
    for budget in (max_tokens, max_tokens // 2, max_tokens // 4):
        told = BEGINNING + "".join(facts_of(recap, budget - estimated_tokens(BEGINNING)))
        prompt = joined(text_prompt, told)
        if told != BEGINNING and check_prompt(prompt) is None:
            return prompt
    return text_prompt


def joined(text_prompt: str, told: str) -> str:
    """The role with `told` at its end, within its tags if it has some."""
    role = text_prompt.strip()
    if role.startswith(SYSTEM_TAG) and role.endswith(SYSTEM_TAG) and len(role) > 2 * len(SYSTEM_TAG):
        return role[: -len(SYSTEM_TAG)].rstrip() + told + " " + SYSTEM_TAG
    return role + told


def facts_of(recap: Recap, max_tokens: int) -> Iterator[str]:
    """The summary and the newest turns that fit, in the order in which they were said."""
    if recap.summary:
        summary = shortened(plain(recap.summary), max_tokens, ending=False)
        max_tokens -= estimated_tokens(summary)
        yield f" {summary}" if summary else ""
    facts: list[str] = []
    for turn in reversed(recap.turns):
        frame = fact_of(turn, "")
        words = shortened(plain(turn.text), max_tokens - estimated_tokens(frame) - 1, ending=True)
        if not words:
            break
        facts.append(fact_of(turn, words))
        max_tokens -= estimated_tokens(facts[-1]) + 1
    yield from reversed(facts)


def fact_of(turn: RecapTurn, words: str) -> str:
    """One turn as a fact."""
    who = "You" if turn.role == "engine" else plain(turn.name) or "Somebody"
    return f' {who} said: "{words}"'


def plain(text: str) -> str:
    """Text without what would end a quotation or the role."""
    return " ".join(text.replace('"', "'").replace("<", " ").replace(">", " ").split())


def shortened(text: str, max_tokens: int, *, ending: bool) -> str:
    """The words at the end, or else at the beginning, of `text` that fit; "" where hardly any do.

    Words are whole, except where no space is near, as in Chinese and Japanese.
    """
    if estimated_tokens(text) <= max_tokens:
        return text
    lengths = range(len(text))
    fits = (
        bisect_right(lengths, max_tokens, key=lambda length: estimated_tokens(text[len(text) - length :] if ending else text[:length])) - 1
    )
    if ending:
        cut = len(text) - max(0, fits)
        space = text.find(" ", cut - 1, cut + LONGEST_WORD)
        short = text[cut if space < 0 else space + 1 :]
    else:
        cut = max(0, fits)
        space = text.rfind(" ", max(0, cut - LONGEST_WORD), cut + 1)
        short = text[: cut if space < 0 else space]
    return short if len(short) >= FEWEST_CHARACTERS else ""
