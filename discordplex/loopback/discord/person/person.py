"""Person: a user in a voice channel of the loopback who speaks and listens over real WebSockets and UDP.

Implemented apart from the bot's voice client, so that a shared mistake cannot hide a fault. Control runs on the loop of the caller, sound
on the media thread (`media.py` says why).
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Protocol

from typing_extensions import Self

from discordplex.errors import VoiceError
from discordplex.loopback import timeouts
from discordplex.loopback.discord.person.media import MediaSession, NoEncryption, RtpReceiver, RtpSender
from discordplex.loopback.discord.person.session import PersonSession
from discordplex.loopback.discord.person.timeline import Timeline
from discordplex.loopback.discord.voice.dave.davey_member import DaveyMember
from discordplex.loopback.discord.voice.dave.libdave_member import LibdaveMember
from discordplex.loopback.discord.voice.dave.member import DaveMember
from discordplex.loopback.discord.voice.gateway import VoiceGatewayServer
from discordplex.loopback.discord.voice.messages import Close, Opcode
from discordplex.loopback.discord.world.model import Fact, User, VoiceSessionEnded, VoiceSessionGrant, VoiceSessionStarted
from discordplex.loopback.discord.world.world import World
from discordplex.tasks import cancel_and_wait
from discordplex.voice.rtp.encryption import MODES

MEMBERS: Mapping[str, type[DaveMember]] = MappingProxyType({"libdave": LibdaveMember, "davey": DaveyMember})

ENTER_TIMEOUT_S = 10.0

SPEAKING = 1
"""Speaking flags of op 5: microphone."""

START_OVER = (Close.AUTHENTICATION_FAILED, Close.SESSION_INVALID, Close.SESSION_TIMEOUT)
"""After these codes the session is invalid: leave the channel and join it again."""

WAIT_FOR_SESSION = (Close.DISCONNECTED, Close.CALL_TERMINATED)
"""After these codes Discord gives a new session or none: the user was moved or kicked, or the voice server changed."""


class PersonContext(Protocol):
    """The parts of the loopback Discord that a person uses."""

    @property
    def world(self) -> World:
        """The state that holds the channel."""
        ...

    @property
    def voice(self) -> VoiceGatewayServer:
        """Its voice servers, whose media thread the person shares."""
        ...

    @property
    def ca_file(self) -> Path:
        """The certificate authority to trust."""
        ...


class Person:
    """A user in a voice channel, as an async context manager. Methods run on the loop that entered it, callbacks on the media thread."""

    def __init__(
        self,
        discord: PersonContext,
        user: User,
        channel_id: str,
        *,
        mode: str = MODES[0],
        e2ee: Literal["libdave", "davey"] | None = None,
        on_sent: Callable[[int, float], None] | None = None,
        on_heard: Callable[[str | None, bytes, float], None] | None = None,
    ) -> None:
        """Set up; the user enters the channel with `async with`.

        Args:
            discord: the loopback.
            user: who enters.
            channel_id: the voice channel.
            mode: the transport mode to ask for, where the server offers it.
            e2ee: which implementation of DAVE the person speaks through; None offers the call none.
            on_sent: called with (index of the frame, `time.perf_counter`) after each frame of speech left. Thread: media.
            on_heard: called with (user id or None, ENGINE PCM, `time.perf_counter`) for each packet heard. Thread: media.
        """
        self.user = user
        self.channel_id = channel_id
        self.member = MEMBERS[e2ee](user.id) if e2ee else None
        """The DAVE state of the person."""
        origin_s = time.perf_counter()
        self.heard = Timeline(origin_s)
        """What the person hears, on one clock with `said`."""
        self.said = Timeline(origin_s)
        self.closures: list[int] = []
        """Close codes of the voice sessions that ended under the person, newest last."""
        self._discord = discord
        self._mode = mode
        sealer = self.member or NoEncryption()
        self.sender = RtpSender(sealer, self.said, user.id, on_sent)
        self.receiver = RtpReceiver(sealer, self.heard, on_heard, self._on_packet)
        self._voice: PersonSession | None = None
        self._session: VoiceSessionGrant | None = None
        self._entered = False
        self._session_changed = asyncio.Event()
        self._secured = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._unsubscribe: Callable[[], None] | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = self._discord.world.subscribe(self._handle_fact)
        self._task = asyncio.create_task(self._run(), name=f"person-{self.user.name}")
        try:
            self._enter_channel()
            await self.wait_until_secured()
        except BaseException:
            await self.leave()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Leave the channel and close every socket; idempotent."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self.sender.stop_speaking()
        if self._task is not None:
            task, self._task = self._task, None
            await cancel_and_wait(task)
        guild_id = self._guild_id()
        state = self._discord.world.voice_state(self.user.id, guild_id)
        if state is not None and self._entered:
            self._discord.world.voice_leave(self.user.id, guild_id)
        self._entered = False

    async def say(self, pcm: bytes, *, marks_end: bool = True) -> None:
        """Say ENGINE PCM (48 kHz mono int16) in real time, then five silence frames; nothing is sent before or after.

        Without `marks_end` the silence frames are left out, as some clients do.
        """
        self.announce()
        await self._discord.voice.media.run(self.sender.say(pcm, marks_end=marks_end))

    def stop_speaking(self) -> None:
        """Stop speaking after the current frame."""
        self.sender.stop_speaking()

    def announce(self, flags: int = SPEAKING) -> None:
        """Send op 5 with the SSRC, as a client does whenever its speech begins."""
        if self._voice is not None and self.sender.media_session is not None:
            self._voice.send(Opcode.SPEAKING, {"speaking": flags, "delay": 0, "ssrc": self.sender.media_session.ssrc})

    async def wait_for_audio(self, user_id: str | None = None, seconds: float = 0.1, *, timeout_s: float = 10.0) -> None:
        """Return once `seconds` of sound (not silence) have been heard from a user, or from anybody. Raises TimeoutError."""
        await self.wait_until(lambda: self.heard.audible_s(user_id) >= seconds, timeout_s=timeout_s)

    async def wait_until_secured(self, *, timeout_s: float = ENTER_TIMEOUT_S) -> None:
        """Return once media may flow. Raises VoiceError where the voice servers refuse the person for good."""
        secured = asyncio.create_task(self._secured.wait())
        alive = {self._task} if self._task is not None else set()
        try:
            await asyncio.wait({secured, *alive}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not self._secured.is_set():
                code = self.closures[-1] if self.closures else None
                raise VoiceError(f"{self.user.name} could not enter the call (close code {code})", code=code)
        finally:
            secured.cancel()

    async def wait_until_encrypted(self, *others: "Person", timeout_s: float = 10.0) -> None:
        """Return once one group holds this person and `others`, as this person sees it, and no change of keys is under way."""
        member = self.member
        if member is None:
            raise VoiceError(f"{self.user.name} does not encrypt")
        wanted = {self.user.id, *(other.user.id for other in others)}
        await self.wait_until(lambda: member.settled and wanted <= member.members, timeout_s=timeout_s)

    async def wait_until_closed(self, *, timeout_s: float = 10.0) -> None:
        """Return once no voice connection is open: after a kick, or at the end. Raises TimeoutError."""
        await self.wait_until(lambda: self._voice is None, timeout_s=timeout_s)

    async def wait_until(self, condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
        """Return once a condition holds; it is checked after each datagram heard. Raises TimeoutError."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (condition, waiter)
        self._waiters.append(entry)
        self._check_waiters()
        try:
            await timeouts.wait_for(waiter, timeout_s)
        except asyncio.TimeoutError as fault:  # TimeoutError itself only from Python 3.11 on
            raise TimeoutError(f"{self.user.name} waited {timeout_s} s in vain") from fault
        finally:
            self._waiters.remove(entry)

    # The voice session

    def _guild_id(self) -> str:
        channel = self._discord.world.channel(self.channel_id)
        if channel is None:
            raise VoiceError(f"there is no channel {self.channel_id}")
        return channel.guild_id

    def _enter_channel(self) -> None:
        if self._discord.world.voice_join(self.user.id, self._guild_id(), self.channel_id) is None:
            raise VoiceError(f"{self.user.name} may not enter channel {self.channel_id}")
        self._entered = True

    async def _run(self) -> None:
        """Run each session that the world gives, until one ends without a successor."""
        tls = ssl.create_default_context(cafile=str(self._discord.ca_file))
        while True:
            while self._session is None:
                self._session_changed.clear()
                await self._session_changed.wait()
            session = self._session
            code = await self._run_session(session, tls)
            self.closures.append(code)
            if self._session is session:  # no newer session was given meanwhile
                self._session = None
                if code in START_OVER:
                    self._discord.world.voice_leave(self.user.id, session.guild_id)
                    self._enter_channel()
                elif code not in WAIT_FOR_SESSION:
                    return

    async def _run_session(self, session: VoiceSessionGrant, tls: ssl.SSLContext) -> int:
        endpoint = self._discord.world.voice_endpoint
        media = self._discord.voice.media
        self._voice = PersonSession(session, endpoint, tls, media, events=self, on_datagram=self.receiver.take, mode=self._mode)
        try:
            return await self._voice.run()
        finally:
            self._voice = None
            self._check_waiters()
            self.sender.media_session = self.receiver.media_session = None
            self._secured.clear()

    def _handle_fact(self, fact: Fact) -> None:
        if isinstance(fact, VoiceSessionStarted) and fact.session.user_id == self.user.id:
            self._session = fact.session
            self.channel_id = fact.session.channel_id
            self._session_changed.set()
        elif isinstance(fact, VoiceSessionEnded) and fact.session == self._session:
            self._session = None

    # SessionEvents, called by PersonSession

    def on_secured(self, media_session: MediaSession) -> None:
        """Media may flow."""
        self.sender.media_session = self.receiver.media_session = media_session
        self._secured.set()

    @property
    def dave_version(self) -> int:
        """The DAVE version that an identify offers."""
        return self.member.max_version if self.member else 0

    def on_text(self, op: int, data: Any) -> None:
        """Handle a JSON message: who speaks with which SSRC, and DAVE transitions."""
        if op == Opcode.SPEAKING:
            self.heard.claim(data["ssrc"], data["user_id"])
        if self.member is not None and self._voice is not None:
            if op == Opcode.SESSION_DESCRIPTION:
                self.member.begin(self.channel_id, data["dave_protocol_version"])
            else:
                self.member.take_text(op, data, self._voice)
        self._check_waiters()

    def on_binary(self, op: int, payload: bytes) -> None:
        """Handle a DAVE message."""
        if self.member is not None and self._voice is not None:
            self.member.take_binary(op, payload, self._voice)
        self._check_waiters()

    # Waiting

    def _on_packet(self) -> None:
        """Check the waiting conditions on the loop. Thread: media."""
        if self._waiters and self._loop is not None:
            self._loop.call_soon_threadsafe(self._check_waiters)

    def _check_waiters(self) -> None:
        for condition, waiter in list(self._waiters):
            if not waiter.done() and condition():
                waiter.set_result(None)
