"""Spans to a collector: what is sent, and that a collector which does not answer disturbs nobody."""

import asyncio
import logging
import re
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from structlog.testing import capture_logs

from discordplex import app
from discordplex.config import Config, MonitoringConfig
from discordplex.errors import ConfigError, EngineError
from discordplex.installing import pip_extra
from discordplex.monitoring import traces as module
from discordplex.monitoring.traces import ReportedExports, address_of, certificates, traced_by, traces
from discordplex.tracing import CALL, CALL_NUMBER, ERROR_TYPE, FIRST_CHUNK, JOIN, MODEL, NO_SPAN
from tests.traced import recorded


async def test_each_call_is_a_trace_of_its_own() -> None:
    """Below it are the spans of its parts; what asks a model is a client."""
    async with recorded() as found:
        for number in (1, 2):
            with (
                found.root.child(CALL, {CALL_NUMBER: number}) as call,
                call.child(JOIN),
                call.child("chat some-model", {MODEL: "some-model"}),
            ):
                pass
        assert found.paths() == [CALL, f"{CALL} > {JOIN}", f"{CALL} > chat some-model"] * 2
        assert len({span.context.trace_id for span in found.spans}) == 2
        assert [span.kind for span in found.spans[:3]] == [SpanKind.INTERNAL, SpanKind.INTERNAL, SpanKind.CLIENT]


async def test_a_failure_is_a_code_and_not_a_sentence() -> None:
    """The code of our errors, or the kind of another one; a cancellation is no failure."""
    async with recorded() as found:
        for error in (EngineError("The server said: secret.", cause="busy"), ValueError("secret"), asyncio.CancelledError("secret")):
            with pytest.raises(type(error)), found.root.child(JOIN):
                raise error
        assert [span.attributes.get(ERROR_TYPE) for span in found.spans] == ["busy", "ValueError", None]
        assert [span.status.status_code for span in found.spans] == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
        assert all("secret" not in span.to_json() for span in found.spans)


async def test_what_has_ended_stays_as_it_was() -> None:
    """Parts that end in an unusual order need not care."""
    async with recorded() as found:
        span = found.root.child(JOIN)
        span.note_elapsed(FIRST_CHUNK)
        span.end()
        span.fail("late")
        span.note({CALL_NUMBER: 1})
        span.end()
        (sent,) = found.spans
        assert set(sent.attributes) == {FIRST_CHUNK}


@asynccontextmanager
async def collector(answers: int) -> AsyncIterator[tuple[str, list[ExportTraceServiceRequest]]]:
    """A collector that answers with this status, and what it got."""
    got: list[ExportTraceServiceRequest] = []

    async def take(request: web.BaseRequest) -> web.Response:
        assert request.path == "/v1/traces"
        got.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(status=answers, text="a sentence of the server")

    runner = web.ServerRunner(web.Server(take))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", got
    finally:
        await runner.cleanup()


async def test_spans_go_over_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the service's name, the last of them as the bot ends."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "our-bot")
    monkeypatch.setattr(module, "LEAVE_S", 30)
    async with collector(200) as (url, got):
        async with traces(url) as root:
            root.child(CALL).end()
        (request,) = got
    (spans,) = request.resource_spans
    assert {one.key: one.value.string_value for one in spans.resource.attributes}["service.name"] == "our-bot"
    assert [span.name for scope in spans.scope_spans for span in scope.spans] == [CALL]


async def test_a_collector_that_refuses_is_one_line_without_its_words(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it refuses."""
    monkeypatch.setattr(module, "LEAVE_S", 30)
    monkeypatch.setattr(module, "BATCH", 1)
    with capture_logs() as lines, caplog.at_level(logging.DEBUG):
        async with collector(400) as (url, got), traces(url) as root:
            for _ in range(5):
                root.child(CALL).end()
        assert len(got) >= 2
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["traces are not delivered"]
    assert "sentence of the server" not in f"{lines}{caplog.text}"


class Scripted:
    """An exporter that does what it is told, or waits until it is let go."""

    def __init__(self, *results: Any) -> None:
        self._results = list(results)
        self.began, self.may_end = threading.Event(), threading.Event()

    def export(self, _spans: Sequence[Any]) -> Any:
        if not self._results:
            self.began.set()
            self.may_end.wait(600)
            return SpanExportResult.SUCCESS
        result = self._results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    def shutdown(self) -> None:
        if self.began.is_set():
            self.may_end.wait(600)


def test_a_collector_that_comes_back_is_said() -> None:
    """Each change is one line, whatever the library raises."""
    good, bad = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    reported = ReportedExports(Scripted(good, bad, ValueError("odd"), bad, good, good, bad))
    with capture_logs() as lines:
        for _ in range(7):
            reported.export(())
    assert [line["event"] for line in lines] == ["traces are not delivered", "traces are delivered again", "traces are not delivered"]


async def test_a_collector_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither while calls run nor at the end; what is too much is dropped."""
    monkeypatch.setattr(module, "LEAVE_S", 0.05)
    wedged = Scripted()
    try:
        async with traced_by(BatchSpanProcessor(wedged, max_queue_size=4, max_export_batch_size=2)) as root:
            root.child(CALL).end()
            root.child(CALL).end()
            assert await asyncio.to_thread(wedged.began.wait, 10)
            for _ in range(100):
                root.child(CALL).end()
        assert not wedged.may_end.is_set()
    finally:
        wedged.may_end.set()


def test_where_spans_are_posted() -> None:
    """The collector's base address, or the whole one."""
    assert address_of("http://c:4318") == address_of("http://c:4318/v1/traces") == "http://c:4318/v1/traces"


def test_certificates_are_those_of_every_other_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless OpenTelemetry's own variables name others."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    assert certificates() is None
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    assert certificates() == "/ca.pem"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/other.pem")
    assert certificates() is None


async def test_without_an_address_nothing_is_traced_and_without_packages_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has the command."""
    async with app.traced(Config()) as root:
        assert root is NO_SPAN
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "discordplex.monitoring.traces")
    monkeypatch.delattr("discordplex.monitoring.traces")
    with pytest.raises(ConfigError, match=re.escape(pip_extra("otel"))):
        async with app.traced(Config(monitoring=MonitoringConfig(traces_url="http://127.0.0.1:4318"))):
            pass
