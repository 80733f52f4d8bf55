"""Chromium without a window, through the WebDriver protocol of its chromedriver; with BROWSER=firefox, Firefox."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.request

import pytest

from tests.eval.firefox import firefox


class Browser:
    """One tab."""

    def __init__(self, address: str, dark: bool = False, width: int = 1200) -> None:
        flags = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--window-size={width},900",
        ]
        flags += ["--force-dark-mode"] if dark else []
        self._address = address
        wanted = {"goog:chromeOptions": {"args": flags, "binary": shutil.which("chromium")},
                  "goog:loggingPrefs": {"browser": "ALL"}}  # fmt: skip
        session = self._call("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self._address = f"{address}/{session}"

    def _call(self, path: str, content: dict | None, method: str = "POST"):
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, path, fragment: str = "") -> None:
        self._call("/url", {"url": "about:blank"})
        self._call("/url", {"url": path.resolve().as_uri() + fragment})

    def run(self, script: str):
        """The value that a script returns."""
        return self._call("/execute/sync", {"script": script, "args": []})

    def press(self, key: str) -> None:
        keys = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self._call("/actions", {"actions": [{"type": "key", "id": "keys", "actions": keys}]})

    def messages(self) -> list[str]:
        """What the page wrote to the console since the last call, errors and warnings included."""
        return [entry["message"] for entry in self._call("/se/log", {"type": "browser"})]

    def close(self) -> None:
        self._call("", None, "DELETE")


@contextlib.contextmanager
def browser(**options):
    """A browser, or a skipped test where Debian's chromium and chromium-driver are not installed."""
    if os.environ.get("BROWSER") == "firefox":
        with firefox(**options) as tab:
            yield tab
        return
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("chromium and chromium-driver are not installed")
    with subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            ports = (re.search(r"started successfully on port (\d+)", line) for line in process.stdout)
            port = next(found for found in ports if found).group(1)
            tab = Browser(f"http://127.0.0.1:{port}/session", **options)
            try:
                yield tab
            finally:
                tab.close()
        finally:
            process.terminate()
