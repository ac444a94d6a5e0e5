"""People on the loopback: they enter, speak, listen, and survive what Discord does to their connections."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from discordplex.loopback.discord.person import Person

if TYPE_CHECKING:
    from tests.loopback.discord.conftest import VoicePlace

Tone = Callable[..., bytes]


async def test_one_hears_what_the_other_says(place: "VoicePlace", tone: Tone) -> None:
    """Every Opus packet of one person reaches the other as it was made, in order, once."""
    ada, ben = place.people[:2]
    async with Person(place, ada, place.lounge) as speaker, Person(place, ben, place.lounge) as listener:
        await speaker.say(tone(0.4))
        await listener.wait_for_audio(ada.id, 0.4)
        assert listener.heard.opus(ada.id) == speaker.said.opus()
        assert len(speaker.said.opus()) == 20
