"""The programs that take turns: edgectl, candle, and the Python peers in their workers."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import safetensors.numpy

import cases
from cases import Model

HERE = Path(__file__).resolve().parent


class Failure(Exception):
    """A program cannot do a case."""


@dataclass
class Contender:
    """One program at one case."""

    name: str
    run: Callable[[], dict]  # one slot: `p50_us`, `p99_us` and what else the program tells
    prepare: Callable[[], list[float]] = list  # numbers that all programs must agree on, if any
    rounds: int | None = None  # takes part in so many at most: for a slow program


@dataclass
class Worker:
    """A peer's process, which starts at its first case and again if it died."""

    peer: str
    cpus: set[int]
    process: subprocess.Popen | None = None

    def ask(self, request: dict) -> dict:
        if self.process is None:
            command = [sys.executable, str(HERE / "worker.py"), self.peer]
            streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            pin = lambda: os.sched_setaffinity(0, self.cpus)  # noqa: E731
            self.process = subprocess.Popen(command, preexec_fn=pin, **streams)
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code, self.process = self.process.wait(), None
            raise Failure(f"{self.peer}: the process ended with {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise Failure(f"{self.peer}: {answer['error']}")
        return answer

    def stop(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process = None


@dataclass
class Programs:
    """Makes contenders. All run on the CPUs of the first `threads` of `cpus`."""

    edgectl_path: str
    candle_path: str
    cpus: list[int]
    slot_s: float
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="edgectl-bench-")))
    workers: dict[tuple[str, int], Worker] = field(default_factory=dict)

    def edgectl(self, what: str, shape: Iterable, threads: int, name="edgectl", **more) -> Contender:
        """`edgectl bench`; its JSON has rates and memory too."""
        flags = [*flags_of(shape), f"--threads={threads}", f"--seconds={self.slot_s}", "--json"]
        flags += [f"--{flag}" for flag, on in more.items() if on]
        return Contender(name, lambda: output([self.edgectl_path, "bench", what, *flags]))

    def candle(self, what: str, s: Model, threads: int, name="candle") -> Contender:
        """The program of bench/candle."""
        env = {"RAYON_NUM_THREADS": str(threads)}

        def run(seconds: float) -> dict:
            flags = [*flags_of(s), f"--seconds={seconds}", f"--data={self.data(s)}"]
            return output([self.candle_path, what, *flags], env)

        return Contender(name, lambda: run(self.slot_s), lambda: run(0.0)["check"])

    def peer(self, peer: str, name: str, threads: int, **case) -> Contender:
        """A Python peer, in its worker for that many threads."""

        def ask(**more) -> dict:
            return self.worker(peer, threads).ask({"case": case, **more})

        return Contender(name, lambda: ask(seconds=self.slot_s), lambda: ask()["check"])

    def worker(self, peer: str, threads: int) -> Worker:
        cpus = set(self.cpus[:threads])
        return self.workers.setdefault((peer, threads), Worker(peer, cpus))

    def worker_ids(self) -> list[int]:
        return [w.process.pid for w in self.workers.values() if w.process is not None]

    def forget(self) -> None:
        """Frees the memory of the prepared cases."""
        for worker in self.workers.values():
            if worker.process is not None:
                worker.ask({})

    def data(self, s: Model) -> Path:
        """A file with the model's weights, input and targets."""
        path = self.folder / f"{s.label()}.safetensors"
        if not path.exists():
            x, targets = cases.batch(s)
            inputs = {"x": x, "targets": targets.astype(np.uint32)}
            safetensors.numpy.save_file(cases.weights(s) | inputs, path)
        return path

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


def flags_of(shape) -> list[str]:
    return [f"--{name.replace('_', '-')}={size}" for name, size in shape._asdict().items()]


def output(command: list[str], env: dict[str, str] | None = None) -> dict:
    """The JSON object that a program prints."""
    try:
        run = subprocess.run(command, env=os.environ | (env or {}), capture_output=True, text=True)
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from error
    if run.returncode != 0:
        raise Failure(f"{' '.join(command)}: {run.stderr.strip()[-500:]}")
    return json.loads(run.stdout)
