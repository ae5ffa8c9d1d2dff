"""A headless Chromium that a test can ask things, over the pipe of its DevTools protocol."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--hide-scrollbars")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-extensions")


def chromium() -> str:
    """The browser, where one is installed."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no Chromium here: apt-get install chromium to look at the report in a browser")
    return found


class Browser:
    """One tab. What the page writes to its console is kept in `console`."""

    def __init__(self, profile: Path):
        """Start it with a profile folder of its own."""
        asked, self._out = os.pipe()
        self._in, told = os.pipe()
        # The browser reads commands from descriptor 3 and answers on 4.
        command = [chromium(), *FLAGS, *QUIET, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        shell = f"exec 3<&{asked} 4>&{told}; exec " + ' "$@"'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=(asked, told), stderr=subprocess.DEVNULL
        )
        os.close(asked)
        os.close(told)
        self._left, self._number = b"", 0
        self.console: list[str] = []
        self._session: str | None = None
        target = next(one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def open(self, path: Path) -> None:
        """Load a file and wait until its scripts have run."""
        self.call("Page.navigate", url=path.as_uri())
        self._read(lambda message: message.get("method") == "Page.loadEventFired")

    def look(self, width: int, height: int = 900, dark: bool = False) -> None:
        """The size of the window, and which colours the reader likes."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        wanted = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[wanted])

    def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol, return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        answer = self._read(lambda message: message.get("id") == self._number)
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(20)
        os.close(self._out)
        os.close(self._in)

    def _read(self, wanted: Any) -> dict[str, Any]:
        while True:
            while b"\0" not in self._left:
                piece = os.read(self._in, 1 << 20)
                assert piece, "the browser has ended"
                self._left += piece
            line, _, self._left = self._left.partition(b"\0")
            message: dict[str, Any] = json.loads(line)
            if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                self.console.append(json.dumps(message["params"])[:500])
            if wanted(message):
                return message
