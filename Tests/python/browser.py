"""A page in a real browser: Chromium without a window, spoken to over a pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path


class Browser:
    """A context manager; `path` is None where no Chromium is installed."""

    path = shutil.which("chromium")

    def __init__(self, profile: Path, width: int = 390, height: int = 844):
        self.size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        self.profile = profile
        self.events: list[dict] = []
        self.count, self.rest = 0, b""

    def __enter__(self) -> Browser:
        reading, out = os.pipe()
        into, writing = os.pipe()
        command = (
            f"exec {self.path} --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage "
            f"--no-first-run --user-data-dir={self.profile} --remote-debugging-pipe about:blank "
            f"3<&{into} 4>&{out}"
        )
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(into, out), stderr=subprocess.DEVNULL
        )
        os.close(into)
        os.close(out)
        self.reading, self.writing = reading, writing
        targets = self.call("Target.getTargets", page=False)["targetInfos"]
        target = next(each for each in targets if each["type"] == "page")["targetId"]
        attached = self.call("Target.attachToTarget", page=False, targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", **self.size)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.reading)
        os.close(self.writing)

    def message(self) -> dict:
        while b"\0" not in self.rest:
            read = os.read(self.reading, 1 << 20)
            assert read, "the browser ended"
            self.rest += read
        one, _, self.rest = self.rest.partition(b"\0")
        return json.loads(one)

    def call(self, method: str, page: bool = True, **values: object) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": values}
        if page:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path) -> None:
        self.call("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + 60
        while self.value("document.readyState") != "complete" and time.monotonic() < end:
            time.sleep(0.05)

    def value(self, expression: str) -> object:
        """What a JavaScript expression gives; a promise is waited for."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def complaints(self) -> list[dict]:
        """Whatever the console said, and every exception."""
        names = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event["params"] for event in self.events if event.get("method") in names]
