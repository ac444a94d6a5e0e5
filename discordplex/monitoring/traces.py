"""Traces: the spans of calls, sent to an OpenTelemetry collector over HTTP. Imported only where `monitoring.traces_url` is set.

The collector is never waited for: spans are sent by a thread of their own, the newest `MOST_WAITING` wait for it, and leaving takes at most
`LEAVE_S`. What the collector answers is not logged. OpenTelemetry's own variables (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES,
OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS) are obeyed.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from discordplex import __version__
from discordplex.tracing import ERROR_TYPE, MODEL, Attributes, TraceSpan

log = structlog.get_logger()

PATH = "/v1/traces"
SEND_S = 5.0
"""How long the collector may take for a batch, repetitions included."""
SEND_EVERY_S = 5.0
MOST_WAITING = 2048
"""Spans that wait for the collector; beyond that the oldest is dropped. They take 6 MB at most."""
BATCH = 128
"""Spans of one request: to encode them takes some milliseconds, in which other threads wait for the interpreter."""
LEAVE_S = 1.0
"""How long leaving waits for the last spans to be sent: the process has 5 s for everything."""


class TracedSpan(TraceSpan):
    """A span that is sent when it ends."""

    __slots__ = ("_began", "_noted", "_span", "_tracer")

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._began = time.monotonic()
        self._noted: set[str] = set()

    def child(self, name: str, attributes: Attributes | None = None) -> TraceSpan:
        """See `TraceSpan`."""
        return begun(self._tracer, name, attributes, set_span_in_context(self._span, Context()))

    def note(self, attributes: Attributes) -> None:
        """See `TraceSpan`."""
        if self._span.is_recording():
            self._span.set_attributes(attributes)

    def note_elapsed(self, attribute: str) -> None:
        """See `TraceSpan`."""
        if attribute not in self._noted:
            self._noted.add(attribute)
            self.note({attribute: round(time.monotonic() - self._began, 4)})

    def fail(self, cause: str) -> None:
        """See `TraceSpan`."""
        if self._span.is_recording():
            self._span.set_attribute(ERROR_TYPE, cause)
            self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        """See `TraceSpan`."""
        if self._span.is_recording():
            self._span.end()


class Traces(TraceSpan):
    """Above all spans: each of its children is the first of a trace."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def child(self, name: str, attributes: Attributes | None = None) -> TraceSpan:
        """See `TraceSpan`."""
        return begun(self._tracer, name, attributes, Context())


def begun(tracer: Tracer, name: str, attributes: Attributes | None, context: Context) -> TracedSpan:
    """A new span. What asks a model is a client of it."""
    kind = SpanKind.CLIENT if attributes and MODEL in attributes else SpanKind.INTERNAL
    return TracedSpan(tracer, tracer.start_span(name, context=context, kind=kind, attributes=attributes))


class ReportedExports:
    """Says once in the log when spans cannot be sent, and once when they can again. Thread: the one that sends."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send the spans; never raises."""
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001 -- the edge to a library; what is wrong with it is no reason to end the thread
            result = SpanExportResult.FAILURE
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            log.warning("traces are not delivered", cause="the collector at monitoring.traces_url does not take them")
        elif self._fails and not fails:
            log.info("traces are delivered again")
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """End a repetition that is waited for."""
        self._exporter.shutdown()


@contextlib.asynccontextmanager
async def traces(url: str) -> AsyncIterator[Traces]:
    """Inside the block, the spans below what this gives are sent to the collector at `url`."""
    exporter = OTLPSpanExporter(address_of(url), certificate_file=certificates(), timeout=SEND_S)
    processor = BatchSpanProcessor(
        ReportedExports(exporter), max_queue_size=MOST_WAITING, max_export_batch_size=BATCH, schedule_delay_millis=SEND_EVERY_S * 1000
    )
    with silenced():
        async with traced_by(processor) as root:
            log.info("calls are traced")
            yield root


@contextlib.asynccontextmanager
async def traced_by(processor: SpanProcessor) -> AsyncIterator[Traces]:
    """Inside the block, the spans below what this gives go to the processor. Leaving waits `LEAVE_S` for it, and not longer."""
    named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "discordplex", "service.version": __version__}
    provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    try:
        yield Traces(provider.get_tracer("discordplex", __version__))
    finally:
        # In a thread that nobody waits for: the library gives a collector half a minute.
        leaving = asyncio.get_running_loop().run_in_executor(None, provider.shutdown)
        await asyncio.wait({leaving}, timeout=LEAVE_S)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Inside the block the library logs nothing: it says each failed request, with what the server answered."""
    logger = logging.getLogger("opentelemetry")
    was = logger.disabled, logger.propagate
    logger.propagate = False
    handler = logging.NullHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.disabled, logger.propagate = was


def address_of(url: str) -> str:
    """Where spans are posted, for a collector's base address or for the whole one."""
    return url if url.endswith(PATH) else f"{url}{PATH}"


def certificates() -> str | None:
    """The authorities to trust, as for every other connection; None where OpenTelemetry's own variables decide, or the usual ones hold."""
    own = ("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")
    return None if any(os.environ.get(name) for name in own) else os.environ.get("SSL_CERT_FILE") or None
