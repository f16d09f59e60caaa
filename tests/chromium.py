"""A headless Chromium, driven by the DevTools protocol through pipes.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = "chromium", "chromium-browser", "google-chrome"
FLAGS = (
    *(
        "--headless=new",
        "--no-first-run",
        "--disable-extensions",
        "--disable-background-networking",
    ),
    *("--remote-debugging-pipe", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"),
)


# The protocol's descriptors are 3, to the browser, and 4.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4);"
    " os.execv(sys.argv[3], sys.argv[3:])"
)


def find() -> str | None:
    """The program, if it is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def _pipe(theirs: int) -> list[int]:
    """A pipe's two ends; the number of the browser's is none of those that it is given anew."""
    ends = list(os.pipe())
    low, ends[theirs] = ends[theirs], fcntl.fcntl(ends[theirs], fcntl.F_DUPFD, 10)
    os.close(low)
    return ends


class Browser:
    """One page. Use as a context."""

    def __init__(self, *flags: str):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        from_browser, its_output = _pipe(1)
        its_input, to_browser = _pipe(0)
        command = [find(), *FLAGS, *flags, f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(its_input), str(its_output), *command],
            pass_fds=(its_input, its_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        self._out, self._in = os.fdopen(to_browser, "wb"), os.fdopen(from_browser, "rb")
        self._count, self._session, self._read_ahead = 0, None, b""
        (page,) = (
            item["targetId"]
            for item in self.call("Target.getTargets")["targetInfos"]
            if item["type"] == "page"
        )
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._out.close()
        self._in.close()
        self._folder.cleanup()

    def call(self, method: str, **params: object) -> dict:
        """The result of a command. Raises RuntimeError."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]

    def _read(self) -> bytes:
        """The next message of the browser."""
        while b"\0" not in self._read_ahead:
            found = self._in.read1(2**16)
            if not found:
                raise RuntimeError("Chromium is gone")
            self._read_ahead += found
        message, _, self._read_ahead = self._read_ahead.partition(b"\0")
        return message

    def open(self, address: str) -> None:
        """Go to an address, and wait for its page."""
        self.call("Page.navigate", url=address)
        self.wait(f"location.href === {json.dumps(address)} && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> object:
        """The value of an expression of JavaScript, awaited. Raises RuntimeError."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", found))
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> object:
        """The value of an expression once it is true. Raises TimeoutError."""
        stop = time.monotonic() + seconds
        while time.monotonic() < stop:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.05)
        raise TimeoutError(expression)

    def size(self, width: int, height: int, dark: bool = False, scale: float = 1) -> None:
        """Of the window, in CSS pixels, and what the user likes."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
