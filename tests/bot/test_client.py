"""The client hears of what it needs on Discord, and of nothing else."""

import asyncio
from collections.abc import Collection
from typing import Any, cast

import discord
import pytest

from discordplex.bot.client import GatewayClient, Listener, least_intents, pace_of_resumes
from discordplex.bot.shards import WHOLE, LoginTurns
from discordplex.loopback.clock import FakeClock, settle

CHANNEL, MESSAGE = 7, 8


class Noted:
    """A listener that keeps what it hears of messages."""

    def __init__(self) -> None:
        self.deleted: list[tuple[int, set[int]]] = []
        self.facts: list[tuple[Any, ...]] = []

    def guild_here(self, guild: Any) -> None:
        self.facts.append(("here", guild.id))

    def guilds_known(self, client: GatewayClient) -> None:
        self.facts.append(("known", len(client.guilds)))

    def person_moved(self, guild: Any, person_id: int, before: int | None, after: int | None) -> None:
        self.facts.append(("person", guild.id, person_id, before, after))

    def bot_moved(self, guild_id: int, channel_id: int) -> None:
        self.facts.append(("bot", guild_id, channel_id))

    def voice_changed(self, guild: Any) -> None:
        self.facts.append(("voice", guild.id))

    def messages_deleted(self, channel_id: int, message_ids: Collection[int]) -> None:
        self.deleted.append((channel_id, set(message_ids)))


@pytest.mark.parametrize(
    ("name", "event", "ids"),
    [
        ("MESSAGE_DELETE", {"id": str(MESSAGE)}, {8}),
        ("MESSAGE_DELETE_BULK", {"ids": ["8", "9"]}, {8, 9}),
        ("MESSAGE_CREATE", {"id": "no message is looked at, whatever it is"}, None),
        ("MESSAGE_UPDATE", {"id": "nor is an edited one"}, None),
    ],
)
async def test_what_becomes_of_messages(name: str, event: dict[str, Any], ids: set[int] | None, caplog: pytest.LogCaptureFixture) -> None:
    """The client asks Discord for it without a privileged intent, hears of deletions, and reads nobody's message."""
    heard = Noted()
    client = GatewayClient(cast("Listener", heard), clock=FakeClock(), shard=WHOLE, turns=LoginTurns())
    client._connection.parsers[name]({"channel_id": str(CHANNEL), "guild_id": "6", **event})
    await settle()
    assert heard.deleted == ([] if ids is None else [(CHANNEL, ids)])
    assert client.intents.guild_messages
    assert not least_intents(messages=False).message_content
    assert not [record for record in caplog.records if record.name != "asyncio"]  # which tells of a slow machine
    await client.close()
    assert client.http.connector is not None
    await client.http.connector.close()


GUILD, ITSELF, ANNA, OTHER_BOT = 6, 90, 100, 91
HERE, THERE = 11, 12


@pytest.mark.parametrize(
    ("who", "channels", "fact"),
    [
        (ANNA, (None, HERE), ("person", GUILD, ANNA, None, HERE)),
        (ANNA, (HERE, THERE), ("person", GUILD, ANNA, HERE, THERE)),
        (ANNA, (HERE, HERE), ("voice", GUILD)),
        (ITSELF, (HERE, THERE), ("bot", GUILD, THERE)),
        (ITSELF, (None, HERE), ("voice", GUILD)),
        (ITSELF, (HERE, None), ("voice", GUILD)),
        (ITSELF, (HERE, HERE), ("voice", GUILD)),
        (OTHER_BOT, (HERE, THERE), ("voice", GUILD)),
    ],
)
async def test_who_moved(who: int, channels: tuple[int | None, int | None], fact: tuple[Any, ...]) -> None:
    """A person, the bot itself from one channel to another, or whoever else: one fact for each."""
    heard = Noted()
    client = GatewayClient(cast("Listener", heard), clock=FakeClock(), shard=WHOLE, turns=LoginTurns())
    state, parse = client._connection, client._connection.parsers
    state._ready_state = asyncio.Queue()
    state.user = discord.ClientUser(state=state, data=cast("Any", user(ITSELF)))
    voice_channels = [{"id": str(one), "type": 2, "name": "a", "position": 0, "bitrate": 64000, "user_limit": 0} for one in (HERE, THERE)]
    members = [{"user": user(one), "roles": []} for one in (ITSELF, ANNA, OTHER_BOT)]
    parse["GUILD_CREATE"]({"id": str(GUILD), "name": "a", "channels": voice_channels, "members": members, "member_count": 3, "roles": []})
    for channel_id in channels:
        sits_in = None if channel_id is None else str(channel_id)
        member = {"user": user(who), "roles": []}
        event = {"guild_id": str(GUILD), "channel_id": sits_in, "user_id": str(who), "session_id": "s", "member": member}
        parse["VOICE_STATE_UPDATE"](event)
    await settle()
    assert heard.facts[-1] == fact
    assert len(heard.facts) == len(channels), "every event is one fact"
    await client.close()
    assert client.http.connector is not None
    await client.http.connector.close()


@pytest.mark.parametrize("turns", range(8))
async def test_a_guild_that_comes_while_py_cord_finishes_its_start_is_heard_of(monkeypatch: pytest.MonkeyPatch, turns: int) -> None:
    """Once, whenever it comes: py-cord keeps guilds in a queue until it is ready, and drops what comes as it stops reading that."""
    monkeypatch.setattr("discordplex.bot.client.READY_TIMEOUT_S", 0.0)
    heard = Noted()
    client = GatewayClient(cast("Listener", heard), clock=FakeClock(), shard=WHOLE, turns=LoginTurns())
    state, parse = client._connection, client._connection.parsers
    state._ready_state = asyncio.Queue()
    starting = asyncio.create_task(state._delay_ready())
    for _ in range(turns):
        await asyncio.sleep(0)
    parse["GUILD_CREATE"]({"id": str(GUILD), "name": "a", "channels": [], "members": [], "member_count": 0, "roles": []})
    await starting
    await settle()
    assert heard.facts.count(("here", GUILD)) == 1
    assert len([fact for fact in heard.facts if fact[0] == "known"]) == 1
    await client.close()
    assert client.http.connector is not None
    await client.http.connector.close()


def user(user_id: int) -> dict[str, Any]:
    return {"id": str(user_id), "username": "a", "discriminator": "0", "avatar": None, "bot": user_id != ANNA}


def test_a_session_that_is_resumed_and_dropped_at_once_costs_little() -> None:
    """The first resume is not delayed, the next ones are more and more; after a minute that lasted all is as at first."""
    pace, now, waits = pace_of_resumes(), 0.0, []
    for _ in range(10):
        waits.append(pace.wait_s(now))
        now += waits[-1]
        pace.begin(now)
    assert waits == [0, 0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert pace.wait_s(now + 60) == 0
    pace.begin(now + 60)
    assert pace.wait_s(now + 60) == 0.5
