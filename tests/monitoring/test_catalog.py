"""Every metric has a name and a help text, and is in the docs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from discordplex.monitoring import catalog

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs" / "monitoring.md"

BUFFERS = ("sink", "playout")
"""The names that a `PlayoutBuffer` gets."""


def used(kind: str) -> Iterator[str]:
    """The dotted name of each metric of a kind that the code makes; parts that are put in while it runs are empty."""
    for path in sorted((ROOT / "discordplex").rglob("*.py")):
        if "loopback" in path.parts or "demo" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == kind and node.args:
                yield from names_in(node.args[0])


def names_in(argument: ast.expr) -> Iterator[str]:
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "" for part in argument.values)
        yield from (buffer + text for buffer in BUFFERS) if text.startswith(".") else [text]


def test_every_metric_of_the_code_is_described() -> None:
    """A new one needs a line in catalog.py, and nothing is described that is not counted."""
    for kind, described in (("counter", catalog.COUNTERS), ("gauge", catalog.GAUGES), ("histogram", catalog.HISTOGRAMS)):
        made = {name for name in used(kind) if name}
        assert len(made) >= len(catalog.GAUGES)
        assert made - described.keys() == set(), "describe them in discordplex/monitoring/catalog.py"
        assert described.keys() - made == set(), "nothing counts these any more"


def families() -> Iterator[tuple[str, str]]:
    """Each name as Prometheus shows it, with its help text."""
    yield from ((f"{family.name}_total", family.help) for family in catalog.COUNTERS.values())
    yield from ((family.name, family.help) for family in catalog.GAUGES.values())
    yield from ((family.name, family.help) for family in (*catalog.HISTOGRAMS.values(), catalog.LOOP_LAG))
    own = {"info": "build_info", "problems": "problems_total"}
    yield from ((own.get(name, name), text) for name, text in (catalog.OF_THE_PROCESS | catalog.OF_THE_CLUSTER).items())


def test_every_metric_is_in_the_docs() -> None:
    """With its help text, in the table of docs/monitoring.md."""
    rows = [f"| `discordplex_{name}` | {text} |" for name, text in sorted(families())]
    text = DOCS.read_text(encoding="utf-8")
    missing = [row for row in rows if row not in text]
    assert not missing, "docs/monitoring.md lacks:\n" + "\n".join(missing)
    assert len(re.findall(r"^\| `discordplex_\w+` \|", text, re.MULTILINE)) == len(rows), (
        "docs/monitoring.md has a metric that there is not"
    )


def test_names_follow_the_conventions() -> None:
    """One prefix, one name for each, base units, and a sentence as help."""
    names = [name for name, _ in families()]
    assert len(names) == len(set(names))
    for name, text in families():
        assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name)
        assert not re.search(r"_(ms|milliseconds|minutes|hours|samples|kb|kib|mb|count|sum|bucket)(_|$)", name), name
        assert text.endswith("."), name
    for family in (*catalog.HISTOGRAMS.values(), catalog.LOOP_LAG):
        assert family.name.endswith("_seconds")
        assert list(family.bounds) == sorted(set(family.bounds))


def test_a_metric_that_is_not_described_is_exported_all_the_same() -> None:
    """Under the name that follows from its own."""
    assert catalog.counter_of("brand.new")[0].name == "brand_new"
    assert catalog.histogram_of("brand.new_ms").name == "brand_new_seconds"
    assert catalog.counter_of("voice.rx.late") == (catalog.COUNTERS["voice.rx."], "late")
    assert catalog.counter_of("voice.rx.lost") == (catalog.COUNTERS["voice.rx.lost"], "")
