"""Whether one build of edgectl is slower than another: `two_builds.py OLD NEW`.

Both run the same cases in strict alternation, and who is first changes with every round, so that
whatever slows the machine slows both. Needs Python's standard library alone.
"""

import argparse
import array
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from machine import OthersMeter

NOISE_LIMIT = 0.10  # share of the CPUs that others may use in a quiet round
MOST_RATIO = 1.05  # a quiet row above it fails
QUIET_SHARE = 2 / 3  # of the rounds must be quiet, or the row is void
ONE_STEP = ["--batch=32", "--seq=128"]

LONG = ["attention", "--batch=8", "--heads=8", "--seq=512", "--head-dim=64"]
SHORT = ["attention", "--batch=32", "--heads=4", "--seq=64", "--head-dim=16"]

BENCHES = {
    "attention forward": LONG,
    "attention with backward": [*LONG, "--backward"],
    "short attention": SHORT,
    "short attention with backward": [*SHORT, "--backward"],
    "training step": ["train", *ONE_STEP],
    "small training step": ["train", "--batch=16", "--seq=24", "--channels=1", "--d-model=32", "--d-ff=64"],
    "batch of answers": ["infer", *ONE_STEP],
    "one answer": ["infer", "--batch=1", "--seq=128"],
    "one answer, int8": ["infer", "--batch=1", "--seq=128", "--precision=int8"],
    "adamw, 1,000,000": ["optimizer", "--name=adamw", "--params=1000000"],
    "adamw, 100,000": ["optimizer", "--name=adamw", "--params=100000"],
    "sgd, 1,000,000": ["optimizer", "--name=sgd", "--params=1000000"],
}

MERGES = {
    "mean": [],
    "median": ["--reduce=median"],
    "krum": ["--reduce=krum:byzantine=2"],
}


@dataclass
class Row:
    """Microseconds of both builds, round by round, and how busy others were in each."""

    label: str
    old: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    noise: list[float] = field(default_factory=list)

    def quiet(self) -> list[int]:
        return [i for i, share in enumerate(self.noise) if share <= NOISE_LIMIT]

    def void(self) -> bool:
        return len(self.quiet()) < QUIET_SHARE * len(self.noise)

    def figures(self) -> dict:
        """Of the quiet rounds; of all if the row is void. The spread is that of each round's ratio."""
        rounds = range(len(self.noise)) if self.void() else self.quiet()
        old, new = ([times[i] for i in rounds] for times in (self.old, self.new))
        ratios = sorted(n / o for o, n in zip(old, new, strict=True))
        return {
            "label": self.label,
            "old_us": median(old),
            "new_us": median(new),
            "ratio": median(new) / median(old),
            "ratio_least": ratios[0],
            "ratio_quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
            "ratio_most": ratios[-1],
            "rounds": len(rounds),
            "others": max(self.noise),
            "void": self.void(),
        }


def main() -> int:
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # removes the files first
    rows = []
    with tempfile.TemporaryDirectory(prefix="edgectl-two-builds-", dir=arguments.folder) as name:
        for label, run in cases(arguments, Path(name)):
            rows.append(measured(label, run, arguments))
    figures = [row.figures() for row in rows]
    slower = [f for f in figures if not f["void"] and f["ratio"] > arguments.most]
    if n_void := sum(f["void"] for f in figures):
        print(f"{n_void} of {len(figures)} rows are void: others kept the machine busy", file=sys.stderr)
    if arguments.json:
        report = {"old": arguments.old, "new": arguments.new, "rows": figures}
        print(json.dumps(report | {"slower": [f["label"] for f in slower]}))
    else:
        print(table(figures, arguments.most))
    return 1 if slower else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="binary to compare with")
    parser.add_argument("new", help="binary that may not be slower")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--slot-s", type=float, default=0.5, help="seconds of each `bench` run")
    parser.add_argument("--rest-s", type=float, default=0.2, help="seconds of rest before each round")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each run")
    parser.add_argument("--most", type=float, default=MOST_RATIO, help="largest ratio that passes")
    parser.add_argument("--only", default="", help="only cases whose label has this text")
    parser.add_argument("--file-mb", type=float, default=50.0, help="size of each merged file")
    parser.add_argument("--files", type=int, default=8, help="files to merge")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument("--folder", default=memory, help="where the weight files go; removed at the end")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    for binary in (arguments.old, arguments.new):
        if not os.access(binary, os.X_OK):
            parser.error(f"{binary}: no such program")
    return arguments


def cases(arguments: argparse.Namespace, folder: Path) -> list[tuple[str, Callable[[str], float]]]:
    """What is measured: a label, and a function from a binary to microseconds."""
    threads = f"--threads={arguments.threads}"

    def bench(flags: list[str]) -> Callable[[str], float]:
        more = [f"--seconds={arguments.slot_s}", threads, "--json"]
        return lambda binary: output([binary, "bench", *flags, *more])["p50_us"]

    def merge(flags: list[str]) -> Callable[[str], float]:
        def run(binary: str) -> float:
            files = weight_files(folder, arguments.files, arguments.file_mb)
            out = folder / "out.safetensors"
            command = [binary, "aggregate", *files, "--uniform", *flags, f"--out={out}", threads, "--json"]
            start = time.perf_counter()  # the whole process counts
            output(command)
            taken = time.perf_counter() - start
            out.unlink()
            return taken * 1e6

        return run

    found = [(label, bench(flags)) for label, flags in BENCHES.items()]
    size = f"{arguments.files} files of {arguments.file_mb:g} MB"
    found += [(f"{label} of {size}", merge(flags)) for label, flags in MERGES.items()]
    found = [case for case in found if arguments.only in case[0]]
    if not found:
        sys.exit(f"no case has {arguments.only!r} in its label")
    return found


def measured(label: str, run: Callable[[str], float], arguments: argparse.Namespace) -> Row:
    """All rounds of one case, after one run of each build that does not count."""
    row = Row(label)
    for binary in (arguments.old, arguments.new):
        run(binary)
    cpus = sorted(os.sched_getaffinity(0))
    for number in range(arguments.rounds):
        time.sleep(arguments.rest_s)
        meter = OthersMeter(cpus, list)
        noise = []
        turns = [(arguments.old, row.old), (arguments.new, row.new)]
        for binary, times in turns if number % 2 == 0 else reversed(turns):
            times.append(run(binary))
            noise.append(meter.read())
        row.noise.append(max(noise))
        warning = f", others use {max(noise):.0%}" if max(noise) > NOISE_LIMIT else ""
        print(f"{label}: round {number + 1} of {arguments.rounds}{warning}", file=sys.stderr)
    return row


def weight_files(folder: Path, count: int, megabytes: float) -> list[str]:
    """Files of two tensors of seeded normal numbers, made at the first call."""
    paths = [folder / f"{i:02}.safetensors" for i in range(count)]
    for seed, path in enumerate(paths):
        if not path.exists():
            write(path, seed, int(megabytes * 1e6) // 8)
    return [str(path) for path in paths]


def write(path: Path, seed: int, n_numbers: int) -> None:
    """Two tensors of so many numbers; a short list of numbers repeats at another start each time."""
    rng = random.Random(seed)
    some = array.array("f", (rng.gauss(0.0, 0.02) for _ in range(65_537)))
    header = {}
    for i, name in enumerate(("a.weight", "b.weight")):
        offsets = [4 * n_numbers * i, 4 * n_numbers * (i + 1)]
        header[name] = {"dtype": "F32", "shape": [n_numbers], "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    values = some * (2 * n_numbers // len(some) + 1)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        values[: 2 * n_numbers].tofile(file)


def output(command: list[str]) -> dict:
    """The JSON object that a program prints."""
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{' '.join(command[:6])} …: {run.stderr.strip()[-500:]}")
    return json.loads(run.stdout)


def table(figures: list[dict], most: float) -> str:
    lines = [
        "| case | old, µs | new, µs | new/old | quartiles | least to most | rounds | others | verdict |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for f in figures:
        verdict = "void" if f["void"] else "slower" if f["ratio"] > most else "ok"
        low, high = f["ratio_quartiles"]
        cells = [
            f["label"],
            f"{f['old_us']:.1f}",
            f"{f['new_us']:.1f}",
            f"{f['ratio']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{f['ratio_least']:.3f} to {f['ratio_most']:.3f}",
            str(f["rounds"]),
            f"{f['others']:.0%}",
            verdict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
