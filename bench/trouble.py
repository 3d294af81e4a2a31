"""Troubles of a folder in the middle of a run, which go away again: no permission to write, and no room."""

import argparse
import os
import shutil
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

NOBODY = 65534
LASTS = 2.5  # seconds, and until the pause that grows has passed
ROOM = 1_500_000  # bytes of the disk that fills up: less than a round of ten nodes takes


class Permission:
    """Nobody may write into the folder for a while. Root always may: then center and nodes run as another user."""

    needs = "Permission denied"

    def __init__(self, at: Path) -> None:
        self.at, self.user = at, NOBODY if os.geteuid() == 0 else None

    def missing(self) -> str | None:
        return None

    def prepare(self, edgectl: Path, args: argparse.Namespace) -> Path:
        """Before the run: what another user has to be able to read and write. The binary to run."""
        if self.user is None:
            return edgectl
        own, job = self.at / "edgectl", self.at / "job"
        shutil.copy2(edgectl, own)
        job.mkdir()
        args.config = Path(shutil.copy(args.config, job))
        args.data = Path(shutil.copytree(args.data, self.at / "data"))
        for path in [self.at, *self.at.rglob("*")]:
            os.chown(path, self.user, self.user)
        return own

    def begin(self) -> None:
        self._folders(lambda mode: mode & ~0o222)

    def end(self) -> None:
        self._folders(lambda mode: mode | stat.S_IWUSR)

    def clean(self) -> None:
        pass

    def _folders(self, change: Callable[[int], int]) -> None:
        for path in [self.at / "store", *(p for p in (self.at / "store").rglob("*") if p.is_dir())]:
            path.chmod(change(stat.S_IMODE(path.stat().st_mode)))


class Full:
    """The folder is a disk that is too small, and then becomes larger."""

    needs = "No space left on device"
    user = None

    def __init__(self, at: Path) -> None:
        self.at = at

    def missing(self) -> str | None:
        """Why it cannot be tried here."""
        if os.geteuid() != 0:
            return "a small disk can be mounted by root alone"
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", self.at / "store"], capture_output=True, text=True, check=False)
        return f"no small disk can be mounted: {made.stderr.strip()}" if made.returncode else None

    def prepare(self, edgectl: Path, _: argparse.Namespace) -> Path:
        return edgectl

    def begin(self) -> None:
        pass

    def end(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=256m", self.at / "store"], check=True)

    def clean(self) -> None:
        subprocess.run(["umount", "--lazy", self.at / "store"], check=False)


KINDS = {"permission": Permission, "full": Full}


def go_through(trouble: Permission | Full, logs: list[Path], check: Callable[[], None]) -> None:
    """Makes the trouble once rounds have begun, waits until somebody says so, and ends it."""
    wait(lambda: next((trouble.at / "store").glob("round-*/plan.json"), None), "a first plan", check)
    trouble.begin()
    wait(lambda: any(trouble.needs in log.read_text() for log in logs), f"the message {trouble.needs!r}", check)
    time.sleep(LASTS)
    trouble.end()


def wait(ready: Callable[[], object], what: str, check: Callable[[], None]) -> None:
    deadline = time.monotonic() + 60
    while not ready():
        check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"no sign of {what}")
        time.sleep(0.05)


def check(trouble: Permission | Full, logs: list[Path]) -> None:
    """Everybody says once that it waits, and once that it goes on."""
    for log in logs:
        text = log.read_text()
        waits, goes_on = (text.count(word) for word in ("does not answer, trying on", "answers again"))
        if waits != goes_on or waits > 1:
            raise RuntimeError(f"{log.stem} said {waits} times that it waits, and {goes_on} times that it goes on:\n{text}")
