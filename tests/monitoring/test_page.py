"""The status page in a real browser, beside what is true."""

import re

import pytest

from discordplex.audio.format import ENGINE
from discordplex.loopback.discord.person.person import Person
from discordplex.monitoring.page import status_page
from tests.audio.signals import pcm, tone
from tests.home import Home
from tests.monitoring.browser import Tab, chromium, tab
from tests.monitoring.conftest import Observed, observed

AGREES_WITHIN_S = 2.0
"""How old what the page shows may be."""

needs_browser = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

MARKS = "[...document.querySelectorAll('.voices li')].map(one => one.classList.contains('speaking'))"


def test_the_page_asks_nobody_for_anything() -> None:
    """One document: no address of another server is in it, and the policy forbids them all."""
    document, policy = status_page()
    text = document.decode()
    assert set(re.findall(r"(?:https?:)?//[\w.]+", text)) <= {"http://www.w3.org"}, "the name of SVG in its icon, which nobody fetches"
    assert not re.search(r"\son\w+=|style=|javascript:|innerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "/*STYLE*/" not in text
    assert "/*SCRIPT*/" not in text


def shows(name: str, value: str) -> str:
    """Whether a figure of the line at the top begins so."""
    fact = f"[...document.querySelectorAll('#facts dt')].find(one => one.innerText === '{name}').nextSibling.innerText"
    return f"{fact}.startsWith('{value}')"


async def agrees(page: Tab, seen: Observed, *, calls: int, people: int) -> None:
    """Soon the page shows what Discord's own view and /metrics say."""
    wanted = [
        f"document.querySelectorAll('article.call').length === {calls}",
        "[...document.querySelectorAll('article.call .pill')].every(one => one.innerText === 'listening')",
        shows("Calls", str(calls)),
        shows("People", str(people)),
        shows("Discord", f"connected {len(seen.home.discord.guilds)} servers"),
        f"document.querySelector('#engines .pill').innerText === '{'in use' if calls else 'free'}'",
    ]
    await page.until(" && ".join(wanted), AGREES_WITHIN_S)
    assert await seen.metric('calls{phase="listening"}') == calls
    assert await seen.metric("people") == people
    assert await seen.metric("engine_busy") == calls


@needs_browser
async def test_a_call_as_an_operator_sees_it(home: Home) -> None:
    """From nobody there to a call with somebody who speaks, and back; within two seconds, without a name or an error."""
    async with observed(home) as seen, tab() as page:
        await page.open(seen.url + "/")
        await page.until("document.querySelector('#ready').innerText === 'Ready'", 20)
        await agrees(page, seen, calls=0, people=0)
        assert await page.text("#calls-empty")
        async with Person(home.discord, home.ada, home.lounge.id) as ada:
            await home.says(home.lounge, "Go ahead")
            await agrees(page, seen, calls=1, people=1)
            assert await page.evaluate(MARKS) == [False, False]
            await ada.say(pcm(tone(4.0, hz=300, rate_hz=ENGINE.rate_hz)))
            await page.until(f"{MARKS}[0]", AGREES_WITHIN_S)
            assert await page.evaluate("Number(document.querySelector('.voices [role=meter]').getAttribute('aria-valuenow')) > 30")
            await page.until(f"{MARKS}[1]", AGREES_WITHIN_S)  # the stand-in echoes
            await page.until("document.querySelectorAll('#stages tbody tr').length >= 4", AGREES_WITHIN_S)
            text = await page.text("body")
            assert not [name for name in (home.ada.name, home.guild.name, home.lounge.name, "ws://") if name in text]
        await page.until("document.querySelectorAll('article.call').length === 0", 10)
        await agrees(page, seen, calls=0, people=0)
        assert page.errors == []
        assert set(page.requests) == {f"{seen.url}/", f"{seen.url}/events"}


@needs_browser
async def test_names_where_the_operator_wants_them(home: Home) -> None:
    """As text: a name is no way to put something into the page."""
    home.ada.name = "<img src=x onerror=alert(1)>"
    home.discord.enter(home.ada, home.lounge)
    async with observed(home, show_names=True) as seen, tab() as page:
        await page.open(seen.url + "/")
        await page.until("document.querySelector('article.call')", 20)
        assert await page.text("article.call h3") == f"{home.guild.name} / {home.lounge.name}"
        assert await page.text(".voices .who") == home.ada.name
        assert home.engine.url in await page.text("#engines")
        assert await page.evaluate("document.querySelectorAll('img').length") == 0
        assert page.errors == []


@needs_browser
async def test_the_keyboard_is_enough(home: Home) -> None:
    """Tab reaches the way past the header and the button, which stops what moves."""
    async with observed(home) as seen, tab() as page:
        await page.open(seen.url + "/")
        await page.until("document.querySelector('#ready').innerText === 'Ready'", 20)
        focused = []
        for _ in range(2):
            await page.press("Tab")
            focused.append(await page.evaluate("document.activeElement.innerText"))
        assert focused == ["Skip to the calls", "Pause updates"]
        await page.press("Enter")
        assert await page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        home.discord.enter(home.ada, home.lounge)
        await home.listens()
        await page.until("last.running === 1")
        assert await page.evaluate("document.querySelectorAll('article.call').length") == 0
        await page.press("Enter")
        assert await page.evaluate("document.querySelectorAll('article.call').length") == 1


@needs_browser
async def test_faults_are_told(home: Home) -> None:
    """The gateway is lost; then the bot itself does not answer any more."""
    async with tab() as page:
        async with observed(home) as seen:
            await page.open(seen.url + "/")
            await page.until("document.querySelector('#ready').innerText === 'Ready'", 20)
            home.discord.gateway.refuse_connections = True
            await home.discord.gateway.drop()
            await page.until("document.querySelector('#ready').innerText === 'Not ready'", 10)
            assert await page.text("#why") == "Discord's gateway was lost. The bot reconnects by itself."
            assert "Not ready" in await page.evaluate("document.querySelector('#news').textContent")
            assert page.errors == []
            home.discord.gateway.refuse_connections = False
            await page.until("document.querySelector('#ready').innerText === 'Ready'", 20)
        await page.until("!document.querySelector('#link').hidden", 10)
        assert "does not answer" in await page.text("#link")


@needs_browser
async def test_without_javascript_the_page_says_where_the_facts_are(home: Home) -> None:
    """And nothing that waits for data that never comes."""
    async with observed(home) as seen, tab() as page:
        await page.call("Emulation.setScriptExecutionDisabled", value=True)
        await page.open(seen.url + "/")
        await page.until("document.readyState === 'complete' && document.querySelector('noscript')")
        shown = await page.text("body")
        assert "needs JavaScript" in shown
        assert not any(words in shown for words in ("Loading", "Pause updates", "Latency", "Skip to"))
