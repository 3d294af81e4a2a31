"""A headless Chromium that loads a page and tells what came of it: by its debugging pipe, with Python's standard library alone."""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

NAMES = ["chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "chrome"]
PATIENCE = 60  # seconds for any answer

# The least size of text in pixels as it is shown, its least contrast, and how wide the page is.
LEGIBLE = """(() => {
  const numbers = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor, [, , , alpha = 1] = numbers(colour);
      if (alpha > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  let size = Infinity, contrast = Infinity, smallest = '', palest = '';
  for (const element of document.body.querySelectorAll('*')) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data).join('').trim();
    if (!own || !element.getClientRects().length || element.closest('style, script')) continue;
    const style = getComputedStyle(element), at = element.getScreenCTM ? element.getScreenCTM() : null;
    const px = parseFloat(style.fontSize) * (at ? Math.hypot(at.a, at.b) : 1);
    const [a, b] = [light(at ? style.fill : style.color), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (px < size) [size, smallest] = [px, own];
    if (ratio < contrast) [contrast, palest] = [ratio, own];
  }
  return { size, smallest, contrast, palest, width: document.documentElement.scrollWidth };
})()"""


def find() -> str | None:
    """A browser of this machine."""
    return next(filter(None, map(shutil.which, [os.environ.get("CHROMIUM", ""), *NAMES])), None)


@dataclass
class Page:
    """A page that was loaded."""

    browser: "Browser"
    target: str
    session: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, method: str, **params: object) -> dict:
        return self.browser.ask(method, params, self.session)

    def evaluate(self, script: str) -> object:
        """What a script says of the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until a script says yes."""
        deadline = time.monotonic() + PATIENCE
        while not self.evaluate(script):
            if time.monotonic() > deadline:
                raise RuntimeError(f"never true: {script}")
            time.sleep(0.05)

    def legible(self) -> dict:
        """The least `size` (px) and `contrast` of any text, and the `width` that the page takes."""
        return self.evaluate(LEGIBLE)

    def screenshot(self, path: Path) -> None:
        """All of the page as PNG."""
        image = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(image["data"]))

    def hear(self, event: dict) -> None:
        params = event["params"]
        match event["method"]:
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.errors.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.errors.append(params["entry"]["text"])

    def close(self) -> None:
        self.browser.ask("Target.closeTarget", {"targetId": self.target})


class Browser:
    """Runs until it is left."""

    def __init__(self, program: str) -> None:
        self.profile = tempfile.TemporaryDirectory(prefix="edgectl-browser-", ignore_cleanup_errors=True)
        to_read, self.to = os.pipe()
        self.of, to_write = os.pipe()
        command = [program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}", "--no-first-run", "--disable-gpu",
                   "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
        if os.geteuid() == 0:
            command.append("--no-sandbox")
        # It reads from handle 3 and writes to handle 4.
        shell = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        self.process = subprocess.Popen(["bash", "-c", shell, "browser", *command], pass_fds=(to_read, to_write), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.rest, self.number, self.pages = b"", 0, {}
        self.events: list[dict] = []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, 9)
        self.process.wait()
        os.close(self.to)
        os.close(self.of)
        self.profile.cleanup()

    def ask(self, method: str, params: dict, session: str | None = None) -> dict:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def read(self) -> dict:
        """The next message; events go to their pages."""
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.rest:
            if not select.select([self.of], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise RuntimeError("the browser does not answer")
            piece = os.read(self.of, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.rest += piece
        text, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(text)
        if "method" in message:
            self.events.append(message)
            if page := self.pages.get(message.get("sessionId")):
                page.hear(message)
        return message

    def open(self, url: str, width: int = 1000, dark: bool = False) -> Page:
        """Loads a page."""
        target = self.ask("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = self.pages[session] = Page(self, target, session)
        for domain in ["Page", "Runtime", "Log", "Network"]:
            page.ask(f"{domain}.enable")
        page.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.events.clear()
        page.ask("Page.navigate", url=url)
        while not any(e["method"] == "Page.loadEventFired" and e.get("sessionId") == session for e in self.events):
            self.read()
        return page


def check(page: Page, own: str, width: int) -> None:
    """Fails if a page asks for what is not below `own`, says an error, is wider than the window, or cannot be read."""
    away = [url for url in page.requests if not url.startswith((own, "data:"))]
    found = page.legible()
    problems = [f"it asks for {url}" for url in away] + [f"it says {error}" for error in page.errors]
    if found["width"] > width:
        problems.append(f"it is {found['width']} px wide in a window of {width}")
    if found["size"] < 9:
        problems.append(f"{found['smallest']!r} is {found['size']:.1f} px high")
    if found["contrast"] < 4.5:
        problems.append(f"{found['palest']!r} has a contrast of {found['contrast']:.1f}")
    if problems:
        raise RuntimeError(f"{own}, {width} px wide: {'; '.join(problems)}")
