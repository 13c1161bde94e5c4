"""A real Chromium for tests: it opens pages, says what went wrong there, and answers questions."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
_PATIENCE_S = 120.0
#: Whom a page leaves out who has no mouse, or does not see it.
_LEFT_OUT = """(() => {
  const found = [], say = (what, one) => found.push(`${what}: ${one.outerHTML.slice(0, 120)}`);
  const all = selector => [...document.querySelectorAll(selector)];
  const acts = "a[href], button, input, select, textarea, [tabindex='0']";
  for (const one of all("summary, button, a[href], [role=img]")) {
    if (one.querySelector(acts)) say("what acts within what acts", one);
  }
  for (const one of all("body *")) {
    const {overflowX, overflowY} = getComputedStyle(one);
    const scrolls = one.scrollWidth > one.clientWidth + 1 && /auto|scroll/.test(overflowX)
      || one.scrollHeight > one.clientHeight + 1 && /auto|scroll/.test(overflowY);
    if (scrolls && !one.matches(acts) && !one.querySelector(acts)) say("no key scrolls it", one);
  }
  for (const one of all("input, select, textarea")) {
    if (!one.labels.length && !one.ariaLabel) say("it has no name", one);
  }
  const ids = all("[id]").map(one => one.id);
  ids.filter((id, at) => ids.indexOf(id) < at).forEach(id => found.push(`twice: ${id}`));
  return found;
})()"""
_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
          "--no-first-run", "--disable-dev-shm-usage")  # fmt: skip


@dataclass
class Browser:
    """One tab, told by the DevTools protocol.

    `troubles` is what its console has complained of, `received` the bytes that came over the wire.
    """

    socket: ClientConnection
    troubles: list[str] = field(default_factory=list)
    received: int = 0
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def ask(self, method: str, **parameters: Any) -> Any:
        """Send a command and give its result."""
        number = next(self._numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            told = json.loads(self.socket.recv(timeout=_PATIENCE_S))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        what = told.get("params", {})
        match told.get("method"):
            case "Runtime.exceptionThrown":
                details = what["exceptionDetails"]
                said = details.get("exception", {}).get("description", details["text"])
                self.troubles.append(f"exception: {said}")
            case "Network.loadingFinished":
                self.received += int(what["encodedDataLength"])
            case "Runtime.consoleAPICalled" if what["type"] in ("error", "warning", "assert"):
                said = " ".join(
                    str(one.get("value", one.get("description"))) for one in what["args"]
                )
                self.troubles.append(f"{what['type']}: {said}")
            case "Log.entryAdded" if what["entry"]["level"] in ("error", "warning"):
                entry = what["entry"]
                self.troubles.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")

    def open(self, address: str) -> None:
        """Go to a page and wait until it has loaded."""
        self.ask("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """Evaluate an expression, or a promise, and give its value."""
        found = self.ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str) -> Any:
        """Wait until an expression is true, and give its value; one that fails is asked again."""
        asked = f"(found => typeof found === 'object' ? found !== null : found)({condition})"
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            found = self.ask("Runtime.evaluate", expression=asked, returnByValue=True)
            if "exceptionDetails" not in found and (value := found["result"].get("value")):
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited in vain for {condition}; {self.troubles}")

    def left_out(self) -> list[str]:
        """Say what somebody cannot reach, or is not told of, who has no mouse or no eyes."""
        return list(self.run(_LEFT_OUT))

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the window, and what theme the system prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[theme])

    def shot(self, path: Path) -> None:
        """Keep a picture of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(folder: Path, program: str | None = PROGRAM) -> Iterator[Browser]:
    """Run a Chromium with its files in a folder, until the end of the block."""
    assert program is not None
    process = subprocess.Popen(
        [program, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with connect(_tab(folder), max_size=None, ping_interval=None) as socket:
            found = Browser(socket)
            for domain in ("Page", "Runtime", "Log", "Network"):
                found.ask(f"{domain}.enable")
            yield found
    finally:
        process.kill()
        process.wait()


def _tab(folder: Path) -> str:
    """Wait for the browser, and give the address of its tab."""
    end = time.monotonic() + _PATIENCE_S
    while time.monotonic() < end:
        try:
            port = (folder / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
                tabs = json.load(answer)
            return next(str(one["webSocketDebuggerUrl"]) for one in tabs if one["type"] == "page")
        except (OSError, IndexError, StopIteration):
            time.sleep(0.05)
    raise AssertionError("Chromium did not start")
