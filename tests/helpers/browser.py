"""A headless chromium that tests drive as a person would: it moves the pointer, types, and looks.

It is spoken to by the DevTools protocol over two pipes (`--remote-debugging-pipe`): JSON messages that end in a null.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, Final

PROGRAM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
#: A browser that does not answer for so long, in seconds, has failed.
PATIENCE: Final = 60
KEYS: Final = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35, "Escape": 27}


class Browser:
    """One page in a browser.

    Attributes:
        requests: The addresses that the browser loaded anything from.
    """

    def __init__(self, send: FileIO, receive: FileIO) -> None:
        self._send = send
        self._receive = receive
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return what it answers."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receive], [], [], PATIENCE)
            assert ready, f"the browser did not answer for {PATIENCE} s"
            chunk = self._receive.read(1 << 20)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        return message

    def open(
        self,
        page: Path,
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        script: bool = True,
        fragment: str = "",
    ) -> None:
        """Open a file and return when it is loaded."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self.call("Page.navigate", url="about:blank")  # a fragment alone would not load the file anew
        while self._read().get("method") != "Page.loadEventFired":
            pass
        self.call("Page.navigate", url=page.as_uri() + (f"#{fragment}" if fragment else ""))
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def run(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def point(self, selector: str) -> None:
        """Move the pointer to the middle of an element."""
        place = self._place(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        place = self._place(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def _place(self, selector: str) -> Mapping[str, float]:
        found = f"document.querySelector({json.dumps(selector)})"
        box = f"(one => (one.scrollIntoView({{block: 'center'}}), one.getBoundingClientRect()))({found})"
        place: Mapping[str, float] = self.run(
            f"(box => ({{x: box.x + box.width / 2, y: box.y + box.height / 2}}))({box})"
        )
        return place

    def press(self, key: str) -> None:
        """Press a key, by its name or its character."""
        text = {} if key in KEYS else {"text": key}
        code = KEYS.get(key, ord(key[0]))
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def screenshot(self, file: Path) -> None:
        """Write a PNG of what is seen."""
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextmanager
def browsing(folder: Path) -> Iterator[Browser]:
    """Start a browser with a profile in this folder; end it at the end."""
    there, send = os.pipe()
    receive, back = os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    command = [str(PROGRAM), *flags, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
    # The browser reads file 3 and writes file 4.
    script = f'exec 3<&{there} 4>&{back}; exec "$@"'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *command],
        pass_fds=(there, back),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(there)
    os.close(back)
    try:
        with open(send, "wb", buffering=0) as writer, open(receive, "rb", buffering=0) as reader:
            yield Browser(writer, reader)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE)
