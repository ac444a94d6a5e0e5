"""The checks of `monitoring.listen` and `monitoring.traces_url`. They report nothing where these are not set."""

import asyncio
import errno
import importlib.util

import aiohttp

from discordplex.config import MonitoringConfig
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.errors import ConfigError
from discordplex.installing import pip_extra
from discordplex.monitoring.access import Access
from discordplex.monitoring.http import cannot_listen
from discordplex.network import Connector, ProxyFailedError, unreachable_because

NAME = "monitoring"
TRACES = "traces"
COLLECTOR_TIMEOUT_S = 10.0


async def check_monitoring(config: MonitoringConfig) -> list[Finding]:
    """The password, the extra package, and whether the address can be listened on. Each of them would keep the bot from starting."""
    if not config.listen:
        return []
    try:
        access = Access.of(config)
    except ConfigError as fault:
        return [failure(NAME, fault.full, "Set DISCORDPLEX_MONITORING__PASSWORD, or monitoring.listen to 127.0.0.1 and a port.")]
    if importlib.util.find_spec("prometheus_client") is None:
        return [failure(NAME, "monitoring.listen is set, and prometheus_client is missing.", f"Run: {pip_extra('monitoring')}")]
    try:
        server = await asyncio.get_running_loop().create_server(asyncio.Protocol, access.host, access.port)
    except OSError as fault:
        if fault.errno == errno.EADDRINUSE:
            return [warning(NAME, cannot_listen(access, fault), "If it is this bot that listens there, all is well.")]
        return [failure(NAME, cannot_listen(access, fault), "Correct monitoring.listen, or leave it empty.")]
    server.close()
    guard = "open to this machine" if access.password is None else "guarded by monitoring.password"
    return [ok(NAME, f"The status page and /metrics will be at http://{access.shown}/, {guard}.")]


async def check_traces(config: MonitoringConfig) -> list[Finding]:
    """The extra package, without which the bot does not start, and whether a server answers at the collector's address."""
    if config.traces_url is None:
        return []
    try:
        importlib.import_module("discordplex.monitoring.traces")
    except ModuleNotFoundError:
        return [failure(TRACES, "monitoring.traces_url is set, and OpenTelemetry's packages are missing.", f"Run: {pip_extra('otel')}")]
    timeout = aiohttp.ClientTimeout(total=COLLECTOR_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(connector=Connector(), timeout=timeout) as session, session.get(config.traces_url):
            return [ok(TRACES, "A server answers at monitoring.traces_url.")]
    except ProxyFailedError as fault:
        why = f". {fault}"
    except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as fault:
        why = f": the collector cannot be reached ({unreachable_because(fault)})."
    return [warning(TRACES, f"Traces of calls would be lost{why}", "Start the collector, or correct monitoring.traces_url.")]
