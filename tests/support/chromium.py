"""Drives headless Chromium over its DevTools protocol, on a pair of pipes: no driver, no WebSocket, no package.

Protocol: https://chromedevtools.github.io/devtools-protocol/, `--remote-debugging-pipe`: JSON messages that end with a
zero byte, read by the browser from file descriptor 3, written by it to 4.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

BINARY = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--disable-extensions",
    "--remote-debugging-pipe", "about:blank",
]  # fmt: skip
MESSAGE_MAX = 16 << 20


class BrowserError(Exception):
    """The browser refused a command, or the page's script threw."""


class Chromium:
    """One browser process with an empty profile."""

    def __init__(self, profile: Path, *flags: str) -> None:
        """`flags`: more of the command line."""
        self._profile = profile
        self._flags = [*flags, *FLAGS]
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._receivers: dict[str, Callable[[str, dict[str, Any]], None]] = {}

    async def __aenter__(self) -> Chromium:
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        # Only a shell can say which numbers the two ends are to have.
        command = f'exec "$0" "$@" 3<&{from_us} 4>&{to_us}'
        self._process = await asyncio.create_subprocess_exec(
            "bash", "-c", command, BINARY or "chromium", f"--user-data-dir={self._profile}", *self._flags,
            pass_fds=(from_us, to_us), stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        os.close(from_us)
        os.close(to_us)
        self._to_browser = to_browser
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(limit=MESSAGE_MAX)
        self._transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), os.fdopen(from_browser, "rb")
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(Exception):
            await self.call("Browser.close", seconds=5)
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._reading.cancel()
        self._transport.close()
        os.close(self._to_browser)

    async def call(self, method: str, *, session: str = "", seconds: float = 60, **params: Any) -> dict[str, Any]:
        """Send a command, answer its result. BrowserError when it is refused."""
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(seconds):
            reply = await answer
        if "error" in reply:
            raise BrowserError(f"{method}: {reply['error']['message']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def _read(self) -> None:
        while True:
            try:
                message = json.loads((await self._reader.readuntil(b"\0"))[:-1])
            except asyncio.IncompleteReadError:
                break
            if "id" in message:
                answer = self._waiting.pop(message["id"])
                if not answer.done():
                    answer.set_result(message)
            elif (receive := self._receivers.get(message.get("sessionId", ""))) is not None:
                receive(message["method"], message["params"])
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(BrowserError("the browser ended"))

    @asynccontextmanager
    async def page(self) -> AsyncIterator[Page]:
        """A new empty page with storage, cookies and caches of its own, until the end of the block."""
        context = (await self.call("Target.createBrowserContext"))["browserContextId"]
        target = (await self.call("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        page = Page(self, session)
        self._receivers[session] = page.received
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable", session=session)
        try:
            yield page
        finally:
            del self._receivers[session]
            await self.call("Target.disposeBrowserContext", browserContextId=context)


class Page:
    """One tab. `complaints`: exceptions, and warnings of the page's scripts. `asked`: the addresses of its requests,
    since `watch`; `loaded_bytes`: the bytes of their answers that ended, as they came over the wire."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser = browser
        self._session = session
        self._loaded = asyncio.Event()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.loaded_bytes = 0

    def received(self, method: str, params: dict[str, Any]) -> None:
        """An event of the browser."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Fetch.requestPaused":
            answer = {"requestId": params["requestId"], "responseCode": 200}
            self._answering = asyncio.create_task(self._call("Fetch.fulfillRequest", **answer))
        elif method == "Network.requestWillBeSent":
            self.asked.append(params["request"]["url"])
        elif method == "Network.loadingFinished":
            self.loaded_bytes += round(params["encodedDataLength"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description", params)))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("warning", "error"):
            self.complaints.append(" ".join(str(argument.get("value")) for argument in params["args"]))

    async def before_scripts(self, script: str) -> None:
        """Run a script in every document before its own."""
        await self._call("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def watch(self) -> None:
        """Note the address of every request from now on."""
        await self._call("Network.enable")

    async def show_as(self, width: int, height: int, scheme: str = "light") -> None:
        """Give the page this size in CSS pixels, and a reader who prefers light or dark."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self._call("Emulation.setDeviceMetricsOverride", **metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await self._call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, quality: int | None = None) -> bytes:
        """The page as it is shown, as PNG, or as WebP of that quality (0 to 100)."""
        form = {} if quality is None else {"format": "webp", "quality": quality}
        return base64.b64decode((await self._call("Page.captureScreenshot", **form))["data"])

    async def cpu_seconds(self) -> float:
        """CPU time of the page's main thread so far."""
        await self._call("Performance.enable", timeDomain="threadTicks")
        metrics = (await self._call("Performance.getMetrics"))["metrics"]
        return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

    async def press(self, key: str) -> None:
        """Press and release a key, as in `j`, `Enter` or `Escape`."""
        text = {"text": {"Enter": "\r"}.get(key, key)} if len(key) == 1 or key == "Enter" else {}
        code = {"Enter": 13, "Escape": 27, "Tab": 9}.get(key, ord(key[0].upper()))
        await self._call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        await self._call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    async def pretend(self, url: str) -> None:
        """Go to an empty page that the address's own server never sent: as if its name had led elsewhere before."""
        await self._call("Fetch.enable", patterns=[{"urlPattern": url}])
        await self.open(url)
        await self._call("Fetch.disable")

    async def open(self, url: str) -> None:
        """Go to an address and wait until the page is loaded."""
        await self._load("Page.navigate", url=url)

    async def reload(self) -> None:
        """Load the page again, as F5 does."""
        await self._load("Page.reload")

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression (awaited when it is a promise). BrowserError when it throws."""
        reply = await self._call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in reply:
            raise BrowserError(str(reply["exceptionDetails"].get("exception", {}).get("description")))
        return reply["result"].get("value")

    async def until(self, expression: str, *, seconds: float = 20) -> Any:
        """Wait until an expression is true; its value. TimeoutError has the text of the page."""
        try:
            async with asyncio.timeout(seconds):
                while not (value := await self.evaluate(expression)):
                    await asyncio.sleep(0.03)
                return value
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise TimeoutError(f"{expression} did not become true; the page shows:\n{shown}") from None

    async def click(self, selector: str) -> None:
        """Click on an element."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def fill(self, selector: str, value: str) -> None:
        """Give a field a value."""
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(value)}")

    async def text(self, selector: str) -> str:
        """The text of an element."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    async def _load(self, method: str, **params: Any) -> None:
        self._loaded.clear()
        await self._call(method, **params)
        async with asyncio.timeout(15):
            await self._loaded.wait()

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._browser.call(method, session=self._session, **params)
