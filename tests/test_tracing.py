"""Spans without a tracer, and what the docs say of those with one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from discordplex.metrics import CallMetrics, Metrics
from discordplex.tracing import ATTRIBUTES, CALL, CALL_NUMBER, FIRST_CHUNK, NO_SPAN, SPANS

DOCS = Path(__file__).parent.parent / "docs" / "monitoring.md"


def test_without_a_tracer_there_is_one_span_that_does_nothing() -> None:
    """No object is made, whatever is begun, noted or ended, and whatever goes wrong in it."""
    assert Metrics().span is NO_SPAN
    assert CallMetrics(Metrics()).span is NO_SPAN
    with NO_SPAN.child(CALL, {CALL_NUMBER: 1}) as span:
        assert span is NO_SPAN
        span.note({CALL_NUMBER: 1})
        span.note_elapsed(FIRST_CHUNK)
        span.fail("busy")
        span.end()
    with pytest.raises(ValueError, match="odd"), NO_SPAN:
        raise ValueError("odd")


def test_a_bot_that_nobody_traces_imports_none_of_it() -> None:
    """What is not configured costs nothing, with any engine: neither OpenTelemetry nor what it needs."""
    program = (
        "import sys, discordplex.app, discordplex.cascade.provider, discordplex.realtime.provider, discordplex.hearing.provider;"
        "print(*sys.modules)"
    )
    modules = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()  # noqa: S603 -- ours
    assert "discordplex.tracing" in modules
    assert [name for name in modules if name.startswith(("opentelemetry", "google.protobuf", "requests", "discordplex.monitoring"))] == []


@pytest.mark.parametrize("table", [SPANS, ATTRIBUTES], ids=["spans", "attributes"])
def test_the_docs_list_all_that_is_sent(table: dict[str, str]) -> None:
    """Each span and each attribute has a line in docs/monitoring.md, and there is no other line."""
    text = DOCS.read_text(encoding="utf-8")
    rows = [f"| `{name}` | {what} |" for name, what in table.items()]
    missing = [row for row in rows if row not in text]
    assert not missing, "docs/monitoring.md lacks:\n" + "\n".join(missing)
    section = text.partition("## Traces")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| `", section, re.MULTILINE)) == len(SPANS) + len(ATTRIBUTES)
