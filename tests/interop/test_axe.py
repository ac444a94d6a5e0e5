"""The status page before a judge that others wrote: axe-core, in a real browser.

Run by `make interop`, which installs axe-core. Without Chromium it is skipped.
"""

from pathlib import Path
from typing import Any

import pytest

from tests.bot.conftest import home
from tests.home import Home
from tests.monitoring.browser import chromium, tab
from tests.monitoring.conftest import observed

__all__ = ["home"]

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)"),
]

AXE = Path(__file__).parents[2] / ".interop" / "node_modules" / "axe-core" / "axe.min.js"
RUN = "axe.run().then(found => found.violations.map(one => [one.id, one.impact, one.nodes.map(node => node.target.join(' '))]))"


@pytest.mark.parametrize(("width", "dark"), [(1300, False), (1300, True), (390, False), (390, True)])
async def test_axe_finds_nothing(home: Home, width: int, *, dark: bool) -> None:
    """With a call, an engine that failed, somebody who waits and a problem; in light and dark, on a screen and on a phone."""
    home.discord.enter(home.ada, home.lounge)
    home.discord.enter(home.ben, home.discord.guilds[1].voice_channels[0])
    async with observed(home) as seen, tab() as page:
        seen.sampler.problems.note({"event": "engine lost", "cause": "stalled", "level": "warning"}, seen.sampler.clock.now())
        await page.look(width=width, height=900, dark=dark)
        await page.open(seen.url + "/")
        await page.until("document.querySelector('article.call') && document.querySelector('#queue li')", 20)
        await page.evaluate(AXE.read_text(encoding="utf-8") + ";0")
        found: list[Any] = await page.evaluate(RUN)
    assert found == []
