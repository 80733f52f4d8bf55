"""Firefox without a window, through its own Marionette protocol, which needs no driver."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

# Errors and warnings of the page's file, not those of Firefox itself.
MESSAGES = """
const found = Services.console.getMessageArray().filter(
  each => each instanceof Ci.nsIScriptError && (each.sourceName || "").startsWith("file:"));
Services.console.reset();
return found.map(each => each.errorMessage);
"""


class Firefox:
    """One tab; the same methods as `tests.eval.browser.Browser`."""

    def __init__(self, port: int, width: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._number = 0
        self._receive()
        self._call("WebDriver:NewSession", {"capabilities": {}})
        self._call("WebDriver:SetWindowRect", {"width": width, "height": 900})

    def _receive(self):
        length = b""
        while not length.endswith(b":"):
            length += self._connection.recv(1)
        data = b""
        while len(data) < int(length[:-1]):
            data += self._connection.recv(1 << 16)
        return json.loads(data)

    def _call(self, name: str, content: dict):
        self._number += 1
        data = json.dumps([0, self._number, name, content]).encode()
        self._connection.sendall(b"%d:%b" % (len(data), data))
        _, number, error, result = self._receive()
        assert number == self._number and error is None, error
        return result

    def open(self, path, fragment: str = "") -> None:
        self._call("WebDriver:Navigate", {"url": "about:blank"})
        self._call("WebDriver:Navigate", {"url": path.resolve().as_uri() + fragment})

    def run(self, script: str):
        """The value that a script returns."""
        return self._call("WebDriver:ExecuteScript", {"script": script, "args": []})["value"]

    def press(self, key: str) -> None:
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._call("WebDriver:PerformActions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def messages(self) -> list[str]:
        """Errors and warnings of the page since the last call."""
        self._call("Marionette:SetContext", {"value": "chrome"})
        found = self.run(MESSAGES)
        self._call("Marionette:SetContext", {"value": "content"})
        return found


@contextlib.contextmanager
def firefox(dark: bool = False, width: int = 1200):
    """A tab of Firefox, or a skipped test where Debian's firefox-esr is not installed."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("firefox-esr is not installed")
    settings = {"marionette.port": 0, "layout.css.prefers-color-scheme.content-override": 0 if dark else 1}
    with tempfile.TemporaryDirectory() as profile:
        lines = [f"user_pref({json.dumps(name)}, {value});" for name, value in settings.items()]
        Path(profile, "user.js").write_text("\n".join(lines))
        words = [program, "--headless", "--marionette", "--remote-allow-system-access", "--profile", profile]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                ready, end = Path(profile, "MarionetteActivePort"), time.monotonic() + 60
                while not (ready.exists() and ready.read_text()):
                    assert process.poll() is None and time.monotonic() < end, "Firefox did not start"
                    time.sleep(0.05)
                yield Firefox(int(ready.read_text()), width)
            finally:
                process.terminate()
