# SPDX-License-Identifier: MIT
"""A page in Chromium, as a reader has it: on a phone, in the dark. Speaks the DevTools protocol over a pair
of pipes (--remote-debugging-pipe), so that nothing listens anywhere."""
import base64
import json
import os
import shutil
import subprocess
import tempfile


def program():
    """Chromium's path; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Failed(Exception):
    """What Chromium did not do, in one line."""


class Browser:
    """One page at a time; `with Browser() as browser: browser.open(path, width=390, dark=True)`."""

    def __init__(self):
        self._profile = tempfile.TemporaryDirectory(prefix="ebb-browser-", ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = [program(), "--headless=new", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe",
                   f"--user-data-dir={self._profile.name}", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # it refuses root otherwise

        # Chromium reads requests from 3 and writes answers to 4.
        script = f"exec 3<&{to_read} 4>&{to_write} && exec \"$@\""
        self._process = subprocess.Popen(["bash", "-c", script, "-", *command], stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                         pass_fds=(to_read, to_write))
        os.close(to_read)
        os.close(to_write)
        self._waiting, self._events, self._number, self._session = b"", [], 0, None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._call("Page.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._session = None
        try:
            self._call("Browser.close")
            self._process.wait(timeout=20)
        except (Failed, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def _receive(self):
        while b"\0" not in self._waiting:
            piece = os.read(self._from, 1 << 16)
            if not piece:
                raise Failed("Chromium has gone away")
            self._waiting += piece
        message, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(message)

    def _call(self, method, **parameters):
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        os.write(self._to, json.dumps(request).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                if "error" in message:
                    raise Failed(f"{method}: {message['error']['message']}")
                return message["result"]
            self._events.append(message.get("method"))

    def open(self, path, width, dark=False):
        """Shows a file in a window of that many pixels, a phone's below 500."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1,
                   mobile=width < 500)
        self._call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self._events.clear()
        self._call("Page.navigate", url=f"file://{os.path.abspath(path)}")
        while "Page.loadEventFired" not in self._events:
            self._events.append(self._receive().get("method"))

    def ask(self, expression):
        """What a piece of JavaScript comes to, in the page."""
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failed(f"{expression}: {result['exceptionDetails']['text']}")
        return result["result"].get("value")

    def picture(self, path, height=None):
        """A PNG of the whole page, or of its first pixels."""
        size = self._call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "scale": 1, "width": size["width"],
                "height": min(size["height"], height or size["height"])}
        data = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
