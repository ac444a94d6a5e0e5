"""The composition root: the only module that knows every concrete class. It builds the running bot from them."""

import asyncio
import contextlib
import gc
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from typing_extensions import ParamSpec

from discordplex import __version__
from discordplex.bot.application import BotApplication
from discordplex.bot.call.notes import NotesModel
from discordplex.bridge.ports import EarsProvider
from discordplex.clock import Clock, SystemClock
from discordplex.config import Config
from discordplex.config.values import EngineKind
from discordplex.engine import EngineProvider, Persona
from discordplex.engine_choice import EngineChoice, EngineOption
from discordplex.engine_slots import EngineSlots, OwnSlots
from discordplex.errors import ConfigError
from discordplex.heap import give_back, keep_heap_small
from discordplex.installing import pip_extra
from discordplex.metrics import Metrics
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.stopping import Stop
from discordplex.store import address
from discordplex.store.store import Store, open_store
from discordplex.tasks import beside, until
from discordplex.tracing import NO_SPAN, TraceSpan
from discordplex.voice.rtp.threads import SendThread

if TYPE_CHECKING:
    from discordplex.cluster.cluster import Cluster
    from discordplex.monitoring.sampler import Sampler

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")

SWITCH_INTERVAL_S = 0.001
"""How long a thread may keep the interpreter while another one waits. Measured for a paced thread beside a busy one: with the default of
5 ms it was late by 5.3 ms (median), with this value by 1.3 ms."""

STATS_PERIOD_S = 1.0
GIVE_BACK_PERIOD_S = 60.0


async def run(config: Config, *, stop: Stop, report: Path | None = None, drain_s: float = 0.0) -> int:
    """Run the bot until the process is asked to end. Then it leaves its channels, and this returns 0.

    Calls that run may go on for `drain_s` then, while no other ones begin.

    Raises:
        DiscordplexError: it cannot run; the sentence says why and what to do.
    """
    keep_heap_small()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.get_running_loop().set_default_executor(Lookups())
    clock, metrics = SystemClock(), Metrics()
    started = clock.now()
    try:
        with stop.event() as asked:
            async with contextlib.AsyncExitStack() as stack:
                metrics.span = await stack.enter_async_context(traced(config))
                monitor = await stack.enter_async_context(monitored(config, metrics, clock))
                if config.cluster.url:  # first, because store.url is the same unless it is set
                    address.parse(config.cluster.url, "cluster.url")
                # If the database cannot be opened, calls still work: settings are kept in memory, and people are told so.
                several = bool(config.cluster.url)
                store = await until(asked, stack.enter_async_context(open_store(config.store.url, volatile=True, shared=several)))
                if store is not None:
                    send_thread = stack.enter_context(SendThread(clock=clock, metrics=metrics))
                    cluster = await stack.enter_async_context(clustered(config, clock, metrics))
                    await serve(
                        config,
                        store=store,
                        send_thread=send_thread,
                        clock=clock,
                        metrics=metrics,
                        asked=asked,
                        monitor=monitor,
                        cluster=cluster,
                        drain_s=drain_s,
                    )
    finally:
        if report is not None:
            write_report(report, metrics, uptime_s=clock.now() - started)
    return 0


async def serve(
    config: Config,
    *,
    store: Store,
    send_thread: SendThread,
    clock: Clock,
    metrics: Metrics,
    asked: asyncio.Event,
    monitor: "Sampler | None" = None,
    cluster: "Cluster | None" = None,
    drain_s: float = 0.0,
) -> None:
    """Run the bot with these parts until `asked` is set."""
    provider = engine_provider(config, clock, cluster.slots if cluster else None)
    application = BotApplication(
        config=config,
        provider=provider,
        store=store,
        send_thread=send_thread,
        clock=clock,
        metrics=metrics,
        ears=ears_provider(config, clock),
        summarizer=summarizer(config, clock),
        cluster=cluster,
    )
    if monitor:
        monitor.observe(application, store.state)
    async with beside(log_stats(metrics, clock), give_back_memory(clock), stop_when(asked, application, drain_s)):
        await application.run()


@contextlib.asynccontextmanager
async def monitored(config: Config, metrics: Metrics, clock: Clock) -> "AsyncIterator[Sampler | None]":
    """Inside the block, the bot can be seen from outside, if the settings say where. Raises as `monitoring.service.monitoring` does."""
    if not config.monitoring.listen:
        yield None
        return
    from discordplex.monitoring.service import monitoring  # noqa: PLC0415 -- what is not configured costs nothing

    async with monitoring(config.monitoring, metrics=metrics, clock=clock) as sampler:
        yield sampler


@contextlib.asynccontextmanager
async def traced(config: Config) -> AsyncIterator[TraceSpan]:
    """Inside the block, the spans below what this gives go to the collector, if the settings name one.

    Raises ConfigError if packages are missing.
    """
    if not config.monitoring.traces_url:
        yield NO_SPAN
        return
    try:
        from discordplex.monitoring.traces import traces  # noqa: PLC0415 -- likewise
    except ModuleNotFoundError:
        raise ConfigError(f"monitoring.traces_url is set, and OpenTelemetry's packages are missing. Run: {pip_extra('otel')}") from None

    async with traces(config.monitoring.traces_url) as root:
        yield root


@contextlib.asynccontextmanager
async def clustered(config: Config, clock: Clock, metrics: Metrics) -> "AsyncIterator[Cluster | None]":
    """Inside the block, this process is a member of the cluster, if the settings name one. Raises ConfigError for an invalid URL."""
    if not config.cluster.url:
        yield None
        return
    from discordplex.cluster.cluster import joined  # noqa: PLC0415 -- what is not configured costs nothing

    async with joined(config.cluster.url, clock=clock, metrics=metrics) as cluster:
        yield cluster


class Lookups(ThreadPoolExecutor):
    """Threads that resolve host names, one for each request. The process does not wait for them when it ends.

    A name server that does not answer can hold one for half a minute, and nothing can cut that short.
    """

    def submit(self, work: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> "Future[T]":
        """Run `work` in its own thread."""
        promise: Future[T] = Future()

        def do() -> None:
            if promise.set_running_or_notify_cancel():
                try:
                    promise.set_result(work(*arguments, **named))
                except BaseException as fault:  # noqa: BLE001 -- whoever waits for the future gets it
                    promise.set_exception(fault)

        Thread(target=do, name="lookup", daemon=True).start()
        return promise

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 -- the executor's shape
        """Do nothing: running threads are not waited for."""


async def stop_when(asked: asyncio.Event, application: BotApplication, drain_s: float) -> None:
    """Stop the bot when the process is asked to end, and its calls have ended or gone on for `drain_s`."""
    await asked.wait()
    if drain_s:
        await application.drain(drain_s)
    log.info("stopping")
    application.stop()


def engine_provider(config: Config, clock: Clock, slots: EngineSlots | None = None) -> EngineProvider:
    """The engines of the configured kinds; `slots` says which of them are this process's. Raises ConfigError if they cannot be made."""
    slots = slots or OwnSlots()
    kinds = config.engine.kinds
    if len(kinds) == 1:
        return provider_of(kinds[0], config, clock, slots)
    options = [
        EngineOption(
            kind, provider_of(kind, config, clock, slots), Persona(own.voice, own.text_prompt), "" if number else config.engine.name
        )
        for number, kind in enumerate(kinds)
        for own in [config.persona_of(kind)]
    ]
    return EngineChoice(options, voices=config.engine.voices, clock=clock, slots=slots)


def provider_of(kind: EngineKind, config: Config, clock: Clock, slots: EngineSlots) -> EngineProvider:
    """The engines of one kind."""
    if kind == "cascade":
        from discordplex.cascade.provider import CascadeProvider  # noqa: PLC0415 -- an engine that is not configured costs nothing

        return CascadeProvider(config.cascade, clock=clock, slots=slots)
    if kind == "realtime":
        from discordplex.realtime.provider import RealtimeProvider  # noqa: PLC0415 -- likewise

        return RealtimeProvider(config.realtime, clock=clock, slots=slots)
    return PersonaPlexPool(config.personaplex, clock=clock, slots=slots)


def ears_provider(config: Config, clock: Clock) -> EarsProvider | None:
    """What writes down what people say beside an engine that does not, if it is switched on. Raises ConfigError if it cannot be made."""
    if not config.hearing.enabled:
        return None
    from discordplex.hearing.provider import Hearing  # noqa: PLC0415 -- ears that are switched off cost nothing

    return Hearing(config.cascade, name=config.hearing.name, clock=clock)


def summarizer(config: Config, clock: Clock) -> NotesModel | None:
    """What sums up calls: the cascade's chat model, if somebody set it up and its packages are installed.

    Raises ConfigError if it cannot be made and `engine.summary` asks for it.
    """
    if not (config.cascade.has_chat_model or config.engine.summary):
        return None
    from discordplex.cascade.summary import ChatSummary  # noqa: PLC0415 -- likewise

    try:
        return ChatSummary(config.cascade, clock=clock)
    except ConfigError as fault:
        if config.engine.summary:
            raise
        log.warning("calls are not summed up", advice=fault.full)
        return None


async def give_back_memory(clock: Clock) -> None:
    """Give back once a minute what calls have left. What exists now is never collected: start this before the first call."""
    gc.freeze()
    deadline = clock.now()
    while True:
        deadline += GIVE_BACK_PERIOD_S
        await clock.sleep_until(deadline)
        give_back()


async def log_stats(metrics: Metrics, clock: Clock) -> None:
    """Log the metrics every second at debug level, for the live view of the demo."""
    if not log.is_enabled_for(logging.DEBUG):
        return
    deadline = clock.now()
    while True:
        deadline += STATS_PERIOD_S
        await clock.sleep_until(deadline)
        log.debug(
            "call stats",
            cpu_s=round(time.process_time(), 3),
            **{name.replace(".", "_"): value for name, value in metrics.snapshot().items()},
        )


def write_report(path: Path, metrics: Metrics, *, uptime_s: float) -> None:
    """Write the metrics and the memory and CPU use of the process as JSON."""
    content: dict[str, Any] = {
        "version": __version__,
        "python": sys.version.split()[0],
        "uptime_s": round(uptime_s, 3),
        "cpu_s": round(time.process_time(), 3),
        **memory_mib(),
        "metrics": metrics.snapshot(),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def memory_mib() -> dict[str, float]:
    """The memory that this process uses, and the most that it has used, where the platform reports it.

    It does not use getrusage, whose peak is inherited from the parent process.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        return {}
    fields = dict(line.split(":", 1) for line in status.read_text(encoding="ascii", errors="replace").splitlines() if ":" in line)
    wanted = {"rss_mib": "VmRSS", "peak_rss_mib": "VmHWM"}
    return {name: round(int(fields[field].split()[0]) / 1024, 1) for name, field in wanted.items() if field in fields}
