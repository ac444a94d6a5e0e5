"""What is done after each kind of loss, with sessions that end as a script says."""

import asyncio
from collections.abc import Callable

from discordplex.loopback.clock import FakeClock, settle
from discordplex.voice.close_codes import Closing, Repair, classify
from discordplex.voice.connection_info import ConnectionInfo, ConnectionInfoCollector
from discordplex.voice.reconnect import (
    LONGEST_DELAY_S,
    MAX_RESUMES,
    MAX_TRIES,
    REMOVED,
    SHORT_AT_ONCE,
    STEADY_S,
    Reconnector,
    ReconnectTries,
)


class Play:
    """Discord and its sessions, played from a script of closings; a callable is called and decides."""

    def __init__(self, *script: Closing | Callable[[], Closing], flows: bool = False, reconnect: bool = True) -> None:
        self.script = list(script)
        self.flows = flows
        self.log: list[str] = []
        self.failures = 0
        self.clock = FakeClock()
        self.info_collector = ConnectionInfoCollector()
        self._tokens = 0
        self.reconnector = Reconnector(
            info_collector=self.info_collector,
            open_session=self.open,
            enter=self.enter,
            leave=self.leave,
            on_loss=lambda closing: self.log.append(f"lost {closing.code}"),
            clock=self.clock,
            reconnect=reconnect,
        )

    async def enter(self) -> None:
        self.log.append("enter")
        self.info_collector.entered(f"session {self._tokens}")
        self.serve()

    async def leave(self) -> None:
        self.log.append("leave")
        if self.failures:
            self.failures -= 1
            raise ConnectionResetError
        assert not self.info_collector.left()  # our own doing

    def serve(self) -> None:
        self._tokens += 1
        self.info_collector.served(f"token {self._tokens}", "host:1")

    def open(self, info: ConnectionInfo) -> "Play":
        self.log.append(f"open {info.number}")
        return self

    async def run(self) -> Closing:
        self.log.append("run")
        await asyncio.sleep(0)
        act = self.script.pop(0)
        return act if isinstance(act, Closing) else act()

    async def rest(self, seconds: float) -> None:
        self.log.append(f"rest {seconds:g}")

    def stop(self, closing: Closing) -> None:
        self.script.insert(0, closing)

    def close(self) -> None:
        self.log.append("close")

    async def to_the_end(self) -> Closing:
        """Run it, moving time on whenever it waits."""
        running = asyncio.create_task(self.reconnector.run())
        while not running.done():
            await self.clock.advance(1.0)
            await settle()
        return running.result()


END = Closing(Repair.END, "that is all")


async def test_a_loss_is_resumed_on_the_same_session() -> None:
    """The session stays open, is run again at once, and the loss is told."""
    play = Play(classify(4015), classify(None), END, flows=True)
    assert await play.to_the_end() is END
    assert play.log == ["enter", "open 1", "run", "lost 4015", "rest 0", "run", "lost None", "rest 0", "run", "close"]


async def test_resumes_that_carry_nothing_wait_longer_and_then_begin_anew() -> None:
    """Where no resume brings anything to flow, each waits longer, and the fourth is a new session."""
    play = Play(*[classify(4015)] * (MAX_RESUMES + 1), END)
    await play.to_the_end()
    rests = [entry for entry in play.log if entry.startswith("rest")]
    assert rests == [f"rest {delay:g}" for delay in [0, 0.25, 0.5]]
    assert play.log[-6:] == ["leave", "enter", "open 2", "run", "close"][-6:] or play.log[-5:] == [
        "leave",
        "enter",
        "open 2",
        "run",
        "close",
    ]


async def test_a_lost_session_is_left_and_entered() -> None:
    """4006 closes the session; leaving and entering bring a new one."""
    play = Play(classify(4006), END)
    await play.to_the_end()
    assert play.log == ["enter", "open 1", "run", "close", "lost 4006", "leave", "enter", "open 2", "run", "close"]


async def test_a_server_that_crashes_for_ever_is_given_up() -> None:
    """After all tries without anything that flows, the last closing is the reason."""
    play = Play(*[classify(4006)] * 30)
    closing = await play.to_the_end()
    assert (closing.repair, closing.code) == (Repair.END, 4006)
    assert play.log.count("enter") == 1 + MAX_TRIES


async def test_a_server_that_works_for_moments_is_given_up() -> None:
    """Sessions that flow and end at once are mended at once a few times, and then like those that never flow: all calls share a gateway."""
    play = Play(*[classify(4006)] * 100, flows=True)
    closing = await play.to_the_end()
    assert (closing.repair, closing.code) == (Repair.END, 4006)
    assert play.log.count("enter") == 1 + SHORT_AT_ONCE - 1 + MAX_TRIES
    assert play.clock.now() - FakeClock().now() > 30


async def test_a_session_that_lasted_is_always_mended() -> None:
    """However often: a loss each ten seconds is bad, and no reason to leave."""

    def lasts() -> Closing:
        play.clock._now += STEADY_S
        return classify(4006)

    play = Play(*[lasts] * 50, END, flows=True)
    assert await play.to_the_end() is END
    assert play.log.count("enter") == 51


async def test_a_main_gateway_that_is_away_is_tried_again() -> None:
    """Where asking to enter raises, that was one try."""
    play = Play(classify(4006), END)
    play.failures = 1
    assert await play.to_the_end() is END
    assert play.log[5:8] == ["leave", "leave", "enter"]


async def test_a_move_waits_for_the_new_server() -> None:
    """4014 waits, and the server that Discord names then carries the next session."""
    play = Play(classify(4014), END)
    running = asyncio.create_task(play.reconnector.run())
    await settle()
    assert play.log == ["enter", "open 1", "run", "close", "lost 4014"]
    play.serve()
    assert await running is END
    assert play.log[5:] == ["open 2", "run", "close"]


async def test_a_move_that_was_a_removal_ends() -> None:
    """4014 followed by an empty voice state: somebody removed us."""
    play = Play(classify(4014))
    running = asyncio.create_task(play.reconnector.run())
    await settle()
    play.info_collector.left()
    assert await running is REMOVED


async def test_a_server_that_was_announced_first_needs_no_wait() -> None:
    """The new server is known before the old one closes."""

    def replaced() -> Closing:
        play.serve()
        return Closing(Repair.WAIT, "Discord named another voice server")

    play = Play(replaced, END)
    assert await play.to_the_end() is END
    assert play.log == ["enter", "open 1", "run", "close", "lost None", "open 2", "run", "close"]


async def test_a_loss_while_the_server_is_being_replaced_waits_for_the_new_one() -> None:
    """With no server named, a resume would go nowhere."""

    def taken_away() -> Closing:
        play.info_collector.served("token 1", None)
        return classify(1006)

    play = Play(taken_away, END)
    running = asyncio.create_task(play.reconnector.run())
    await settle()
    assert "rest 0" not in play.log
    play.serve()
    assert await running is END


async def test_without_reconnect_every_loss_is_the_last() -> None:
    """Who asked for no repairs gets none."""
    assert (await Play(classify(4015), reconnect=False).to_the_end()).repair is Repair.END
    play = Play(classify(4006), reconnect=False)
    assert (await play.to_the_end()).code == 4006
    assert play.log.count("enter") == 1


def test_the_first_try_is_made_at_once_and_the_last_is_the_last() -> None:
    """The delays grow, and after them the answer is to give up, until something has flowed."""
    tries = ReconnectTries()
    delays = [tries.next_delay_s() for _ in range(MAX_TRIES)]
    assert delays == [0, 0.25, 0.5, 1, 2, 4, 8, 10, 10, LONGEST_DELAY_S]
    assert tries.next_delay_s() is None
    tries.reset()
    assert tries.next_delay_s() == 0


def test_resumes_run_out_first() -> None:
    """A session that cannot be resumed in three tries is entered anew."""
    tries = ReconnectTries()
    for _ in range(MAX_RESUMES):
        tries.next_delay_s()
    assert not tries.resumes_exhausted
    tries.next_delay_s()
    assert tries.resumes_exhausted
