"""Headless Chromium, driven as a person drives it: keys are pressed, and what stands on the page is read."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]
_PATIENCE_SECONDS = 120.0


class Tab:
    """One tab, over Chromium's debugging protocol.

    Args:
        connection: To the tab.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.console: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=_PATIENCE_SECONDS))
            if message.get("method") in {"Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"}:
                self.console.append(json.dumps(message["params"]))
            if message.get("id") == self._number:
                return dict(message.get("result", {}))

    def value(self, expression: str) -> Any:
        """What an expression is on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found.get("result", {}).get("value")

    def wait_for(self, expression: str) -> None:
        """Return when an expression holds on the page."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, (expression, self.value("document.documentElement.innerText"))
            time.sleep(0.2)

    def open(self, address: str) -> None:
        """Open an address as a person does who types it."""
        self.call("Page.navigate", url=address, transitionType="typed")
        self.wait_for("location.href != 'about:blank' && document.readyState == 'complete'")

    def type(self, text: str) -> None:
        """Type where the focus is."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, number: int, text: str = "") -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            said = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=number, **said)


@contextmanager
def opened_tab(profile: Path) -> Iterator[Tab]:
    """Lend a tab of a Chromium of its own."""
    command = [str(CHROMIUM), *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port_file, end = profile / "DevToolsActivePort", time.monotonic() + _PATIENCE_SECONDS
        while not (port_file.exists() and port_file.read_text(encoding="utf-8").count("\n")):
            assert time.monotonic() < end, "Chromium does not start"
            time.sleep(0.2)
        port = port_file.read_text(encoding="utf-8").split()[0]
        tabs = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False, timeout=_PATIENCE_SECONDS).json()
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None, open_timeout=_PATIENCE_SECONDS, proxy=None) as connection:
            yield Tab(connection)
    finally:
        process.terminate()
        process.wait(timeout=60)
