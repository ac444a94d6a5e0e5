"""Spans as the SDK exports them, kept in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from discordplex.tracing import ATTRIBUTES, SPANS, TraceSpan


class Recorded:
    """What was exported so far. Each span and attribute must be one that the docs list."""

    def __init__(self, root: TraceSpan, exporter: Any) -> None:
        self.root = root
        self._exporter = exporter

    @property
    def spans(self) -> list[Any]:
        """The spans in the order in which they began."""
        found = sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time)
        for span in found:
            assert span.name.partition(" ")[0] in SPANS
            assert set(span.attributes) <= set(ATTRIBUTES)
        return found

    def named(self, name: str) -> list[Any]:
        """The spans whose name begins with this word."""
        return [span for span in self.spans if span.name.partition(" ")[0] == name]

    def paths(self) -> list[str]:
        """Each span by its name and those above it."""
        by_id = {span.context.span_id: span for span in self.spans}

        def path(span: Any) -> str:
            above = by_id.get(span.parent.span_id) if span.parent else None
            return f"{path(above)} > {span.name}" if above else str(span.name)

        return [path(span) for span in self.spans]


@asynccontextmanager
async def recorded() -> AsyncIterator[Recorded]:
    """Inside the block, spans below `root` are kept."""
    pytest.importorskip("opentelemetry", reason="the extra `otel` is not installed")
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415 -- needs the extra
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415 -- likewise

    from discordplex.monitoring.traces import traced_by  # noqa: PLC0415 -- likewise

    exporter = InMemorySpanExporter()
    async with traced_by(SimpleSpanProcessor(exporter)) as root:
        yield Recorded(root, exporter)
