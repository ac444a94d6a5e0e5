"""Thoughts are not spoken, whatever marks a server leaves around them."""

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from discordplex.cascade.reasoning import LONGEST_HEADER, LONGEST_MARK, MOST_HELD, ReasoningFilter, ReasoningFormat, Retract


def spoken(reply: str, cuts: list[int] | None = None, reasoning_format: ReasoningFormat | None = None) -> str:
    """What of a reply is left to be spoken, wherever its deltas were cut: at every character unless told."""
    thoughts, found, last = ReasoningFilter(reasoning_format), "", 0
    for cut in [*sorted(range(len(reply)) if cuts is None else cuts), len(reply)]:
        for one in [*thoughts.feed(reply[last:cut]), *(thoughts.finish() if cut == len(reply) and last != cut else [])]:
            found = found + one if isinstance(one, str) else ""
        last = max(last, cut)
    return found


MARKED = [
    "<think>plan, plan</think>The answer.",
    "<think>\nplan <b>\n</think>\n\nThe answer.",
    "<thinking>plan</thinking>The answer.",
    "<THINKING>plan</THINKING>The answer.",
    "<thought>plan</thought>The answer.",
    "<thoughts>plan</thoughts>The answer.",
    "<reasoning>plan</reasoning>The answer.",
    "<reason>plan</think>The answer.",
    "<analysis>plan</analysis>The answer.",
    "<reflection>plan</reflection>The answer.",
    "<scratchpad>plan</scratchpad>The answer.",
    "<inner_monologue>plan</inner_monologue>The answer.",
    "<chain_of_thought>plan</chain_of_thought>The answer.",
    "<seed:think>plan</seed:think>The answer.",
    "<longcat_think>plan</longcat_think>The answer.",
    '<think budget="100">plan</think>The answer.',
    '<details type="reasoning" done="true"><summary>plan</summary>plan</details>The answer.',
    "<think>plan<answer>The answer.</answer>",
    "<think>plan</think><answer>The answer.</answer>",
    "<deepthink>plan</deepthink>The answer.",
    "<denken>plan</denken>The answer.",
    "<思考>plan</思考>The answer.",
    "< think >plan</ think >The answer.",
    "<think\n>plan</think\n>The answer.",
    "<think/>The answer.",
    "{think}plan{/think}The answer.",
    "【思考】plan【回答】The answer.",
    "<unused94>thought\nplan<unused95>The answer.",
    "<unused94>The answer.",
    "<\uff5cbegin\u2581of\u2581thought\uff5c>plan<\uff5cend\u2581of\u2581thought\uff5c>The answer.",
    "<|assistant|>The answer.<|user|>plan",
    "◁think▷plan◁/think▷The answer.",
    "\uff1cthink\uff1eplan\uff1c/think\uff1eThe answer.",
    "[THINK]plan[/THINK]The answer.",
    "[think]plan[/think]The answer.",
    "[REASONING]plan[/REASONING]The answer.",
    "[BEGIN THINKING]plan[END THINKING]The answer.",
    "<|channel|>analysis<|message|>plan<|end|><|start|>assistant<|channel|>final<|message|>The answer.",
    "<|channel|>analysis<|message|>plan<|channel|>final<|message|>The answer.<|return|>",
    "<|channel|>commentary to=functions.x <|constrain|>json<|message|>{}<|call|><|start|>assistant<|channel|>final<|message|>The answer.",
    "analysis<|message|>plan<|end|><|start|>assistant<|channel|>final<|message|>The answer.",
    "analysisplan, plan.assistantfinalThe answer.",
    "<|channel>thought\nplan<channel|>The answer.",
    "<|START_THINKING|>plan<|END_THINKING|><|START_RESPONSE|>The answer.<|END_RESPONSE|>",
    "<|begin_of_thought|>plan<|end_of_thought|><|begin_of_solution|>The answer.<|end_of_solution|>",
    "<|think|>plan<|/think|>The answer.",
    "<|im_start|>assistant\n<think>plan</think>The answer.<|im_end|>",
    "<|start_header_id|>assistant<|end_header_id|>The answer.<|eot_id|>",
    "<start_of_turn>model\nThe answer.<end_of_turn>",
    "The answer.<|im_end|>\n<|im_start|>user\nplan",
    "The answer.</s>",
    "<s>The answer.",
    "<response>The answer.</response>",
    "<p>The answer.</p>",
    "<tool_call>plan</tool_call>The answer.",
    "<|channel|>final The answer.",
    f"<|channel|>final The answer.{' ' * 100}",
    "<|im_start|>The answer.",
    'The answer.[TOOL_CALLS][{"name": "x"}]</s>',
    "<s>[INST]plan[/INST]The answer.",
    '<|python_tag|>{"name": "x"}<|eom_id|>The answer.',
    '<tool_call>{"name": "x", "arguments": {"y": [1, 2]}}</tool_call>The answer.',
    "<0x0A>The answer.<0x0A>",
    "«think»plan«/think»The answer.",
    "(think)plan(/think)The answer.",
    "&lt;think&gt;plan&lt;/think&gt;The answer.",
    "~~~py\nplan\n~~~\nThe answer.",
    "~~~py\n```\n~~~\nThe answer.",
    "<start_working_out>plan<end_working_out><SOLUTION>The answer.</SOLUTION>",
    "<search>plan</search>The answer.",
    "<code>plan</code>The answer.",
    "<step>plan</step>The answer.",
    "<!-- x -->The answer.",
    "<!-- think: a > b, c -->The answer.",
    "<think>plan<!-- </think> -->plan</think>The answer.",
]
UNOPENED = [
    "plan, plan</think>The answer.",
    "plan\n\nplan\n</thinking>\n\nThe answer.",
    "plan[/THINK]The answer.",
    "plan◁/think▷The answer.",
    "plan<|end_of_thought|>The answer.",
    "<think>plan</think>plan</think>The answer.",
    "<think>plan<think>plan</think>plan</think>The answer.",
    "plan ```plan </think>The answer.",
]


@pytest.mark.parametrize("reply", [*MARKED, *UNOPENED])
@settings(max_examples=8)  # of each of eighty replies
@given(cuts=st.lists(st.integers(0, 200), max_size=12))
@example(cuts=None)
def test_the_answer_is_spoken_and_no_thought_or_mark(reply: str, cuts: list[int] | None) -> None:
    """However a reply is cut into deltas. What a closing mark shows to be thoughts is taken back."""
    assert spoken(reply, cuts).strip() == "The answer."


@pytest.mark.parametrize("reply", UNOPENED)
def test_who_is_known_to_think_first_is_held(reply: str) -> None:
    """After one reply whose thoughts no mark opened nothing of the next one is said before its closing mark: nothing is taken back."""
    reasoning_format = ReasoningFormat()
    spoken(UNOPENED[0], reasoning_format=reasoning_format)
    assert reasoning_format.thinks_first
    thoughts = ReasoningFilter(reasoning_format)
    found = [*(one for character in reply for one in thoughts.feed(character)), *thoughts.finish()]
    assert Retract.ALL not in found or "<think>" in reply
    assert spoken(reply, reasoning_format=ReasoningFormat(thinks_first=True)).strip() == "The answer."


def test_a_reply_without_thoughts_is_spoken_all_the_same() -> None:
    """Of a model that was known to think first, and did not this time: all is spoken at the end, and the next reply is not held."""
    reasoning_format = ReasoningFormat(thinks_first=True)
    assert spoken("The answer.", reasoning_format=reasoning_format) == "The answer."
    assert not reasoning_format.thinks_first
    reasoning_format = ReasoningFormat(thinks_first=True)
    assert spoken("<think>plan</think>The answer.", reasoning_format=reasoning_format) == "The answer."


@pytest.mark.parametrize(
    "reply",
    [
        "a < b and b > c",
        "I <3 you",
        "if a <b and c> d",
        "see [1] and [NASA] and [the docs](http://x/y)",
        "[Thoughts](http://x/y) is a book",
        "thinking of you, I analysed the final",
        "`x` and ``y``",
        "me@x.y <me@x.y>",
        "x < y and z > w",
        "{a: 1} and {name}",
        "《思考，快与慢》 is a book",
        "Ticket [internal] is done. [plan] B.",
        "a final assistant",
        "yes~~~ no ~~old~~ x ~ y ~",
        "(thinking of you) and (think again) (and) f(x) :( :) <3",
        "x<0 and y>1, x<0>y",
        "AT&T, &amp; a & b, a &l",
        "[TOOLS] and [Inst] «guten Tag»",
        "~5 and ~~~",
    ],
)
def test_what_looks_like_a_mark_and_is_none_is_spoken(reply: str) -> None:
    """Brackets are also used for other things."""
    assert spoken(reply) == reply


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Yes. <think>because", "Yes. "),
        ("Yes. <thi", "Yes. "),
        ("Yes. </", "Yes. "),
        ("Yes. <|chan", "Yes. "),
        ("Yes.</think>", "Yes."),
        ("<think>a</think>Yes.</think>", "Yes."),
        ("Yes: ```x = 1 <b>``` done", "Yes:  done"),
        ("Yes: ````py\nx = 1\n```` done", "Yes: ` done"),
        ("<think>```a</think>Yes.", "Yes."),
        ("one<br>two<br/>three", "one two three"),
        ("plan [", "plan ["),
    ],
)
def test_the_edges(reply: str, said: str) -> None:
    """A reply may break off anywhere, and marks may stand where they make no sense."""
    assert spoken(reply) == said
    assert spoken(reply, []) == said


def test_a_reply_with_nothing_behind_its_thoughts_says_nothing() -> None:
    """Where the model is known to think first."""
    assert spoken("plan, plan</think>", reasoning_format=ReasoningFormat(thinks_first=True)) == ""


HOSTILE = ["<" * 10_000, "[" * 10_000, "<think" * 2000, "<think>" * 2000, "</think>" * 2000, "`" * 10_000, "<|channel|>" * 1000,
           "assistantfinal" * 1000, "assistant" * 1000, "<|channel|>" + "a" * 10_000, "<think>" + "x" * 100_000, "a</think>" * 1000,
           "<" + "a" * 10_000, "[think]" * 2000, "◁" * 10_000, "x" * 100_000]  # fmt: skip


@pytest.mark.parametrize("reasoning_format", [ReasoningFormat(), ReasoningFormat(thinks_first=True)], ids=["spoken", "held"])
@pytest.mark.parametrize("size", [1, 997, 10**6])
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_piles_up(text: str, size: int, reasoning_format: ReasoningFormat) -> None:
    """Whatever is hidden, repeated or never ended: what is kept is bounded, and so is what is looked at for each character."""
    thoughts = ReasoningFilter(replace(reasoning_format))
    for start in range(0, len(text), size):
        thoughts.feed(text[start : start + size])
        assert thoughts.kept <= MOST_HELD + LONGEST_HEADER + 2 * LONGEST_MARK + 20
    thoughts.finish()
    assert thoughts.kept <= LONGEST_MARK


def test_a_character_is_looked_at_a_fixed_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets that never become marks are given up character by character, not searched again from the start."""
    steps = 0
    grow, text = ReasoningFilter._grow, ReasoningFilter._text

    def counted_grow(self: ReasoningFilter, character: str, position: int) -> int:
        nonlocal steps
        steps += 1
        return grow(self, character, position)

    def counted_text(self: ReasoningFilter, given: str) -> None:
        nonlocal steps
        steps += len(given) + len(self._tail)
        text(self, given)

    monkeypatch.setattr(ReasoningFilter, "_grow", counted_grow)
    monkeypatch.setattr(ReasoningFilter, "_text", counted_text)
    for hostile in HOSTILE:
        for size in (1, 10**6):
            steps, thoughts = 0, ReasoningFilter()
            for start in range(0, len(hostile), size):
                thoughts.feed(hostile[start : start + size])
            thoughts.finish()
            assert steps <= 16 * len(hostile)
