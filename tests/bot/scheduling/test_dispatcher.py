"""From what people do to calls that begin, move, wait and end: voice channels and calls are scripted, everything between is real."""

import pytest

from discordplex.bot import texts
from discordplex.bot.call.interface import Next, Outcome
from discordplex.bot.guild_rules import GuildRules
from discordplex.bot.place import Place
from discordplex.bot.scheduling.dispatcher import FIRST_PAUSE_S, GOOD_CALL_S, MOST, QUEUE_POLL_S, RetryPauses
from discordplex.bot.scheduling.running import FOLLOW_TIMEOUT_S, GRACE_S
from discordplex.loopback.clock import FakeClock, settle
from tests.bot.fakes import CountedEngines
from tests.bot.town import A1, A2, ANNA, B1, BERT, C1, CARA, Town


async def test_who_enters_gets_a_call_and_who_leaves_last_ends_it(town: Town, clock: FakeClock) -> None:
    """The call begins at once and ends after the grace, with its engine given back."""
    town.move(ANNA, None, A1)
    await settle()
    assert town.live == [A1]
    assert not town.calls[0].quiet
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S - 0.1)
    assert town.live == [A1]
    await clock.advance(0.2)
    assert town.live == []
    assert town.engines.free == 1


async def test_who_returns_within_the_grace_keeps_the_call(town: Town, clock: FakeClock) -> None:
    """A client that reconnects does not cost the conversation."""
    town.move(ANNA, None, A1)
    await settle()
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S / 2)
    town.move(ANNA, None, A1)
    await clock.advance(10)
    assert len(town.calls) == 1
    assert town.live == [A1]


async def test_the_queue_is_told_and_served_in_turn(town: Town, clock: FakeClock) -> None:
    """Others hear their place once, however many they are; who has gone is passed over."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    town.move(CARA, None, B1)
    town.move(CARA, None, C1)
    await clock.advance(1)
    assert town.said(B1) == [texts.waiting.waiting(1, None)]
    assert town.said(C1) == [texts.waiting.waiting(2, None)]
    town.move(BERT, B1, None)
    town.move(CARA, B1, None)
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S + 0.1)
    assert town.live == [C1]


async def test_a_second_channel_is_told_where_the_bot_is_and_served_after(town: Town, clock: FakeClock) -> None:
    """One bot has one voice per server: the others may come over, or stay."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, A2)
    town.move(CARA, None, A2)
    await clock.advance(5)
    assert town.said(A2) == [texts.calls.elsewhere(A1.channel_id)]
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S + 0.1)
    assert town.live == [A2]


async def test_the_call_follows_when_everybody_moves(town: Town, clock: FakeClock) -> None:
    """The last of two takes the call along; nobody there waits any more, and the conversation stays the same one."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, A1)
    await settle()
    town.move(ANNA, A1, A2)
    town.move(BERT, A1, A2)
    await settle()
    assert town.voice_channels[A2].asked_to_move == 1
    town.board.bot_moved(A2.guild_id, A2.channel_id)
    await clock.advance(FOLLOW_TIMEOUT_S + GRACE_S + 1)
    assert len(town.calls) == 1
    assert town.live == [A2]
    town.move(ANNA, A2, None)
    town.move(BERT, A2, None)
    await clock.advance(GRACE_S + 0.1)
    assert town.live == []


async def test_a_call_that_cannot_follow_says_so_and_ends(town: Town, clock: FakeClock) -> None:
    """Discord stays silent where it does not let us in; a missing permission is known before."""
    town.move(ANNA, None, A1)
    await settle()
    town.move(ANNA, A1, A2)
    await clock.advance(FOLLOW_TIMEOUT_S + 0.1)
    assert town.live == []
    await clock.advance(1)
    assert town.said(A2) == [texts.calls.could_not_join(A2.channel_id, texts.calls.NOT_LET_IN)]
    town.move(ANNA, A2, A1)
    await settle()
    town.voice_channels[A2].problem = "No."
    town.move(ANNA, A1, A2)
    await clock.advance(2)
    assert town.live == []
    assert town.said(A2)[-1] == texts.calls.could_not_join(A2.channel_id, "No.")
    assert town.voice_channels[A2].asked_to_move == 1


async def test_a_moderator_who_drags_the_bot_drags_the_call(town: Town, clock: FakeClock) -> None:
    """Into an empty channel: it leaves after the grace. Among people: it stays."""
    town.move(ANNA, None, A1)
    await settle()
    town.board.bot_moved(A2.guild_id, A2.channel_id)
    assert town.calls[0].voice_channel.place == A2
    town.move(ANNA, A1, A2)
    await clock.advance(GRACE_S + 1)
    assert town.live == [A2]
    town.board.bot_moved(A1.guild_id, A1.channel_id)
    await clock.advance(GRACE_S + 0.1)
    assert town.live == []
    await clock.advance(1)
    assert town.said(A1) == []


async def test_a_failed_call_is_tried_again_after_growing_pauses(town: Town, clock: FakeClock) -> None:
    """Nobody's presence alone causes a storm of tries, and the later ones are quiet."""
    town.move(ANNA, None, A1)
    await settle()
    for pause_s in (FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S):
        tries = len(town.calls)
        town.calls[-1].outcome.set_result(Outcome("It broke.", Next.RETRY))
        await clock.advance(pause_s - 0.1)
        assert len(town.calls) == tries
        await clock.advance(0.2)
        assert len(town.calls) == tries + 1
        assert town.calls[-1].quiet


async def test_a_call_whose_engine_was_taken_after_all_waits_in_front(town: Town, clock: FakeClock) -> None:
    """Its people are told their place, and are served before those who came later, as soon as there is an engine."""
    town.engines.capacity = 2
    town.move(ANNA, None, A1)
    town.move(BERT, None, B1)
    await settle()
    town.move(CARA, None, C1)
    town.engines.capacity = 1
    town.calls[1].outcome.set_result(Outcome(next=Next.WAIT))
    await clock.advance(2)
    assert town.board.queue_lines(B1.guild_id)[0].startswith(texts.waiting.in_queue(B1.channel_id, 1, None)[:20])
    assert town.live == [A1]
    assert "1" in town.said(B1)[-1]
    await town.end(call=town.calls[0])
    await clock.advance(QUEUE_POLL_S)
    assert town.live == [B1]


async def test_a_new_entry_does_not_wait_for_the_pause(town: Town, clock: FakeClock) -> None:
    """Whoever comes tries anew at once; a call that lasted makes the next failure a first one."""
    town.move(ANNA, None, A1)
    await settle()
    town.calls[0].outcome.set_result(Outcome("It broke.", Next.RETRY))
    await settle()
    town.move(BERT, None, A1)
    await settle()
    assert len(town.calls) == 2
    town.calls[1].outcome.set_result(Outcome("It broke.", Next.RETRY, listened_s=GOOD_CALL_S))
    await clock.advance(FIRST_PAUSE_S + 0.1)
    assert len(town.calls) == 3


async def test_who_was_thrown_out_does_not_come_back_uncalled(town: Town, clock: FakeClock) -> None:
    """A moderator's kick, and /leave, hold until somebody enters or asks."""
    town.move(ANNA, None, A1)
    await settle()
    town.calls[0].outcome.set_result(Outcome("Thrown out."))
    await clock.advance(1000)
    assert len(town.calls) == 1
    assert await town.board.join(A1) == texts.calls.joined(A1.channel_id)
    assert await town.board.leave(A1.guild_id, "Anna", {A1.channel_id}) == texts.calls.LEFT
    await clock.advance(1000)
    assert len(town.calls) == 2
    assert town.said(A1) == [texts.calls.sent_away("Anna")]
    assert await town.board.leave(A1.guild_id, "Anna", {A1.channel_id}) == texts.calls.NOTHING_TO_LEAVE


async def test_leave_cancels_the_next_try_and_the_queue(town: Town, clock: FakeClock) -> None:
    """/leave means: do not come by yourself."""
    town.move(ANNA, None, A1)
    await settle()
    town.calls[0].outcome.set_result(Outcome("It broke.", Next.RETRY))
    await settle()
    assert await town.board.leave(A1.guild_id, "Anna", {A1.channel_id}) == texts.calls.NOTHING_TO_LEAVE
    await clock.advance(1000)
    assert len(town.calls) == 1
    town.move(CARA, None, C1)
    town.move(BERT, None, B1)
    await settle()
    assert await town.board.leave(B1.guild_id, "Bert", {B1.channel_id}) == texts.calls.LEFT_QUEUE
    town.move(CARA, C1, None)
    await clock.advance(GRACE_S + 0.1)
    assert town.live == []


@pytest.mark.parametrize("how", ["settings", "dragged"])
async def test_a_call_ends_where_the_rules_are_against_it(town: Town, clock: FakeClock, how: str) -> None:
    """Also one that runs already, when an admin denies its channel, and one that a moderator drags into such a channel."""
    town.move(ANNA, None, A1)
    await settle()
    place = A1 if how == "settings" else A2
    town.voice_channels[place].unwanted = texts.waiting.NOT_HERE
    if how == "settings":
        town.board.preferences_changed()
    else:
        town.voice_channels[A2].people = frozenset({BERT})
        town.board.bot_moved(A2.guild_id, A2.channel_id)
    await clock.advance(2)
    assert town.live == []
    assert town.said(place)[-1] == texts.calls.left_because(place.channel_id, texts.waiting.NOT_HERE)


async def test_a_call_ends_where_we_may_not_be_any_more(town: Town, clock: FakeClock) -> None:
    """The right to see or to enter its channel was taken from us while it ran."""
    town.move(ANNA, None, A1)
    await settle()
    town.board.rights_changed(A1.guild_id)
    await clock.advance(2)
    assert len(town.live) == 1
    reason = town.voice_channels[A1].closed_to_us = texts.calls.MISSING_PERMISSION["connect"]
    town.board.rights_changed(A1.guild_id)
    await clock.advance(2)
    assert town.live == []
    assert town.said(A1)[-1] == texts.calls.left_because(A1.channel_id, reason)


async def test_who_enters_while_the_last_call_is_torn_down_is_next(town: Town, clock: FakeClock) -> None:
    """The engine is never given twice: the new call begins when the old one is gone."""
    town.move(ANNA, None, A1)
    await settle()
    town.calls[0].close_gate.clear()
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S + 0.1)
    town.move(ANNA, None, A1)
    await clock.advance(5)
    assert len(town.calls) == 1
    town.calls[0].close_gate.set()
    await settle()
    assert town.live == [A1]
    assert town.said(A1) == []


@pytest.mark.parametrize("what", ["obstacle", "persona"])
async def test_what_cannot_work_is_said_once_and_not_tried(town: Town, clock: FakeClock, what: str) -> None:
    """A missing permission or a bad voice costs no engine and no join."""
    if what == "obstacle":
        town.voice_channels[A1].problem = "I may not."
    else:
        town.refused = "I may not."
    town.move(ANNA, None, A1)
    town.move(BERT, None, A1)
    await clock.advance(5)
    assert town.calls == []
    assert town.said(A1) == [texts.calls.could_not_join(A1.channel_id, "I may not.")]
    assert await town.board.join(A1) == texts.calls.could_not_join(A1.channel_id, "I may not.")
    town.move(ANNA, A1, None)
    town.move(BERT, A1, None)
    town.move(ANNA, None, A1)
    await clock.advance(5)
    assert len(town.said(A1)) == 2


async def test_an_engine_that_comes_back_by_itself_serves_the_queue(town: Town, clock: FakeClock) -> None:
    """Nobody tells when a server is well again, so the queue looks."""
    town.engines.capacity = 0
    town.move(ANNA, None, A1)
    await clock.advance(10)
    assert town.calls == []
    town.engines.capacity = 1
    await clock.advance(QUEUE_POLL_S)
    assert town.live == [A1]


async def test_join_answers_in_words(town: Town) -> None:
    """Every outcome of /join is a sentence."""
    assert await town.board.join(Place(9, 9)) == texts.calls.NOT_IN_VOICE
    for place in (A1, A2, B1):
        town.voice_channels[place].people = frozenset({ANNA})
    assert await town.board.join(A1) == texts.calls.joined(A1.channel_id)
    assert await town.board.join(A1) == texts.calls.already_here(A1.channel_id)
    assert await town.board.join(A2) == texts.calls.elsewhere(A1.channel_id)
    assert await town.board.join(B1) == texts.waiting.waiting(1, None), (
        "whose guild has no call goes before the other channel of one that has"
    )


async def test_join_calls_the_bot_away_from_an_empty_channel(town: Town) -> None:
    """Nobody is told to wait for a call without people."""
    town.move(ANNA, None, A1)
    await settle()
    town.voice_channels[A1].people = frozenset()
    town.voice_channels[A2].people = frozenset({BERT})
    assert await town.board.join(A2) == texts.calls.COMING_SOON
    await settle()
    assert town.live == [A2]


async def test_without_auto_join_only_join_begins_a_call(clock: FakeClock) -> None:
    """People come and go unasked; a call that was asked for still ends when it is empty."""
    town = Town(clock, CountedEngines(1), rules=GuildRules(auto_join=False))
    town.move(ANNA, None, A1)
    await settle()
    assert town.calls == []
    await town.board.join(A1)
    assert town.live == [A1]
    town.move(ANNA, A1, None)
    await clock.advance(GRACE_S + 0.1)
    assert town.live == []
    await town.close()


async def test_a_guild_that_is_gone_leaves_nothing(town: Town, clock: FakeClock) -> None:
    """Its call ends, its queue places go, the next guild is served."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, A2)
    town.move(CARA, None, C1)
    await settle()
    town.board.guild_gone(A1.guild_id)
    await clock.advance(0.1)
    assert town.live == [C1]


async def test_status_tells_a_guild_what_concerns_it(town: Town, clock: FakeClock) -> None:
    """Its call, its places in the queue, how busy the engines are."""
    town.move(ANNA, None, A1)
    town.move(BERT, None, A2)
    town.move(CARA, None, C1)
    await clock.advance(125)
    status = town.board.status(A1.guild_id)
    assert status.call is not None
    assert (status.call.channel_id, status.call.minutes, status.calls, status.capacity) == (A1.channel_id, 2, 1, 1)
    assert status.own_places == [(A2.channel_id, 2)]
    assert town.board.status(C1.guild_id).own_places == [(C1.channel_id, 1)]


async def test_a_flood_of_ids_leaves_nothing(clock: FakeClock) -> None:
    """Hundreds of guilds in which calls fail, people hop and wait, and from which the bot is thrown out or which it just sees no more."""
    places = [Place(guild, guild * 10 + which) for guild in range(1, 301) for which in (1, 2)]
    town = Town(clock, CountedEngines(3), places=places)
    for one, other in zip(places[::2], places[1::2], strict=True):
        town.move(ANNA, None, one)
        town.move(BERT, None, other)
        town.move(ANNA, one, other)
        if one.guild_id % 2:
            for place in (one, other):
                town.voice_channels.pop(place)
        else:
            town.board.guild_gone(one.guild_id)
        for call in town.calls[-3:]:
            if not call.outcome.done():
                call.outcome.set_result(Outcome("It broke.", Next.RETRY))
        await settle()
    await clock.advance(600)
    assert town.board._registry.queue == ()
    board = town.board
    parts = (
        board._registry,
        board._running,
        board._waiting,
        board._moves,
        board._pauses,
        board._timers,
        board._periodic,
        board._periodic._box,
    )
    held = {
        f"{type(part).__name__}.{name}": len(value)
        for part in parts
        for name, value in vars(part).items()
        if isinstance(value, dict | set | list | tuple)
    }
    assert {name: size for name, size in held.items() if size > 3} == {"RetryPauses._failures": held["RetryPauses._failures"]}
    assert held["RetryPauses._failures"] <= MOST
    await town.close()


def test_retry_pauses_are_bounded() -> None:
    """A flood of channels forgets the oldest; the newest keep their pauses."""
    patience = RetryPauses()
    for channel_id in range(3 * MOST):
        patience.pause_s(Place(1, channel_id))
    assert len(patience) == MOST
    assert patience.pause_s(Place(1, 3 * MOST - 1)) == 2 * FIRST_PAUSE_S
    assert patience.pause_s(Place(1, 0)) == FIRST_PAUSE_S
