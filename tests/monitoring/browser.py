"""A real headless Chromium, spoken to over its own DevTools protocol: no driver and no library beside `websockets`."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import websockets

from discordplex.loopback import timeouts

FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
START_S = 30.0


def chromium() -> str | None:
    """The browser of this machine; None where there is none."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


class Tab:
    """One tab. It remembers every error that its console or its network showed."""

    def __init__(self, connection: websockets.ClientConnection) -> None:
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Take what the browser sends, until it closes."""
        async for text in self._connection:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            elif message["method"] == "Runtime.exceptionThrown":
                self.errors.append(json.dumps(message["params"]["exceptionDetails"]))
            elif message["method"] == "Runtime.consoleAPICalled" and message["params"]["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(message["params"]["args"]))
            elif message["method"] == "Log.entryAdded" and message["params"]["entry"]["level"] in ("error", "warning"):
                self.errors.append(json.dumps(message["params"]["entry"]))
            elif message["method"] == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a DevTools command."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        message = await timeouts.wait_for(answer, START_S)
        assert "error" not in message, message
        found: dict[str, Any] = message["result"]
        return found

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def open(self, url: str) -> None:
        """Go to a page and begin to look at its errors."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def look(self, *, width: int, height: int, dark: bool = False, scale: float = 1) -> None:
        """Set the size of the window, and whether the person prefers dark colours."""
        await self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 600)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def text(self, selector: str) -> str:
        """What an element says."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def until(self, expression: str, timeout_s: float = 5.0) -> None:
        """Wait until an expression is true. While the page is not there yet, it fails."""

        async def wait() -> None:
            while not await self.evaluate(f"(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()"):  # noqa: ASYNC110 -- a page has no event of ours
                await asyncio.sleep(0.05)

        await timeouts.wait_for(wait(), timeout_s)

    async def press(self, key: str) -> None:
        """Press a key and let it go."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r")}[key]
        for kind in ("keyDown", "keyUp"):
            letter = {"text": text} if text and kind == "keyDown" else {}
            await self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **letter)

    async def screenshot(self) -> bytes:
        """What is to be seen, as PNG."""
        found = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=False)
        return base64.b64decode(found["data"])


@asynccontextmanager
async def tab() -> AsyncIterator[Tab]:
    """A tab of a new browser with an empty profile."""
    program = chromium()
    assert program
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        root = ("--no-sandbox",) if hasattr(os, "geteuid") and os.geteuid() == 0 else ()
        process = await asyncio.create_subprocess_exec(
            program,
            *FLAGS,
            *root,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr
            async with websockets.connect(
                await timeouts.wait_for(page_of(process.stderr), START_S), max_size=None, proxy=None
            ) as connection:
                found = Tab(connection)
                reading = asyncio.create_task(found.read())
                yield found
            await reading
        finally:
            process.kill()
            await process.communicate()


async def page_of(output: asyncio.StreamReader) -> str:
    """The address of the first page's DevTools, from what the browser prints."""
    async for line in output:
        if b"DevTools listening on " in line:
            browser = line.decode().split()[-1]
            break
    async with websockets.connect(browser, proxy=None) as connection:
        await connection.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
        targets = json.loads(await connection.recv())["result"]["targetInfos"]
    page = next(target["targetId"] for target in targets if target["type"] == "page")
    return f"{browser.rpartition('/devtools/')[0]}/devtools/page/{page}"
