"""A whole call on this machine, with encryption: whether the bot joins, hears, and is heard."""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import numpy as np
from pydantic import SecretStr

from discordplex.audio.format import ENGINE
from discordplex.bot.application import BotApplication
from discordplex.clock import SystemClock
from discordplex.config import Config, DiscordConfig, PersonaPlexConfig
from discordplex.doctor.finding import Finding, failure, ok, warning
from discordplex.errors import DiscordplexError
from discordplex.loopback.discord.person.person import Person
from discordplex.loopback.discord.server import LoopbackDiscord
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.personaplex.server import StandInServer
from discordplex.metrics import Metrics
from discordplex.network import TRUST_VARIABLES
from discordplex.personaplex.pool import PersonaPlexPool
from discordplex.store.store import Store, open_store
from discordplex.voice.rtp.threads import SendThread

TONE_S = 2.0
IN_MEMORY = "sqlite://"
"""Settings that are not kept."""

HEARD_BACK_S = 0.95 * TONE_S
"""A codec fades in at the beginning."""
PATIENCE_S = 2.0
TIMEOUT_S = 20.0
ENOUGH_SHARE = 0.98
"""Share of the frames sent: on a machine's own loopback nothing is lost except by our fault."""
MEND = "Does a firewall block UDP on 127.0.0.1? If not, please report this with the output of `discordplex doctor --json`."


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """The measurements of a short encrypted call on this machine."""

    sent: int
    decrypted: int
    heard_back_s: float
    lateness_p99_ms: float


async def check_round_trip() -> Finding:
    """Run the call and judge it."""
    try:
        with anyio.fail_after(TIMEOUT_S):
            trip = await play()
    except TimeoutError:
        return failure("voice", "A call on this machine did not start in time.", MEND)
    except DiscordplexError as fault:
        return failure("voice", f"A call on this machine failed: {fault}", MEND)
    return judge(trip)


def judge(trip: RoundTrip) -> Finding:
    """What the measurements mean."""
    share = trip.decrypted / trip.sent if trip.sent else 0.0
    says = (
        f"An encrypted call on this machine: {trip.decrypted} of {trip.sent} frames decrypted ({share:.0%}), "
        f"{trip.heard_back_s:.1f} s of {TONE_S:.1f} s heard back, sending late by {trip.lateness_p99_ms:.1f} ms (p99)."
    )
    if share < ENOUGH_SHARE or trip.heard_back_s < HEARD_BACK_S:
        return failure("voice", says, MEND)
    if share < 1:
        return warning("voice", says, "This machine is busy or short of memory: calls may have gaps.")
    return ok("voice", says)


async def play() -> RoundTrip:
    """A person speaks to the real bot through DAVE, and hears an echoing engine."""
    metrics = Metrics()
    with tempfile.TemporaryDirectory(prefix="discordplex-doctor-") as folder:
        encrypted = LoopbackDiscord(dir=Path(folder), voice=lambda world: VoiceGatewayServer(world, dave=True))
        async with encrypted as discord, StandInServer(mode="echo") as engine:
            bot = discord.bots[0]
            config = Config(
                discord=DiscordConfig(token=SecretStr(bot.token), api_url=f"{discord.api_url}/v10"),
                personaplex=PersonaPlexConfig(urls=(engine.url,)),
            )
            async with open_store(IN_MEMORY) as store:
                with trusting(discord.ca_file), SendThread(clock=SystemClock(), metrics=metrics) as send_thread:
                    application = make_application(config, store, send_thread, metrics)
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(application.run)
                        try:
                            trip = await converse(discord, bot.id, metrics)
                        finally:
                            application.stop()
    return trip


def make_application(config: Config, store: Store, send_thread: SendThread, metrics: Metrics) -> BotApplication:
    """The real bot."""
    clock = SystemClock()
    provider = PersonaPlexPool(config.personaplex, clock=clock)
    return BotApplication(config=config, provider=provider, store=store, send_thread=send_thread, clock=clock, metrics=metrics)


async def converse(discord: LoopbackDiscord, bot_id: str, metrics: Metrics) -> RoundTrip:
    """One person joins, speaks, listens and leaves."""
    channel = discord.guilds[0].voice_channels[0]
    async with Person(discord, discord.people[0], channel.id, e2ee="libdave") as person:
        await discord.wait_for(lambda: discord.voice_state(bot_id) is not None)
        await discord.wait_for(lambda: any("Go ahead" in message.content for message in discord.messages(channel)))
        await person.say(tone())
        sent = len(person.said.packets(person.user.id))
        decrypted = metrics.counter("voice.rx.frames")
        with contextlib.suppress(TimeoutError):
            await person.wait_until(
                lambda: decrypted.value >= sent and person.heard.audible_s(bot_id) >= HEARD_BACK_S, timeout_s=PATIENCE_S
            )
        return RoundTrip(
            sent=sent,
            decrypted=decrypted.value,
            heard_back_s=person.heard.audible_s(bot_id),
            lateness_p99_ms=metrics.histogram("voice.tx.lateness_ms").percentile(99) or 0.0,
        )


def tone() -> bytes:
    """ENGINE PCM of a voice-like hum."""
    time_s = np.arange(int(TONE_S * ENGINE.rate_hz)) / ENGINE.rate_hz
    wave = sum(np.sin(2 * np.pi * pitch * time_s) for pitch in (220, 440, 660))
    return np.asarray(wave * 3000, dtype="<i2").tobytes()


@contextlib.contextmanager
def trusting(ca_file: Path) -> Iterator[None]:
    """Make this process trust only the loopback's certificate, as with SSL_CERT_FILE; restore everything afterwards."""
    before = {name: os.environ.pop(name) for name in TRUST_VARIABLES if name in os.environ}
    os.environ["SSL_CERT_FILE"] = str(ca_file)
    try:
        yield
    finally:
        del os.environ["SSL_CERT_FILE"]
        os.environ.update(before)
