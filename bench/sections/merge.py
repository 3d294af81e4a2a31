"""Merging weight files: edgectl's mean against PyTorch and numpy, its robust rules against Flower's, and
its model merges against mergekit's.

Not part of `all`: it takes about 20 minutes, half of them in Flower's Bulyan and mergekit's TIES,
12 GB of memory, 5 GB of it at most on /dev/shm, and two more virtual environments.
"""

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.numpy

from peers.merge import DENSITY, SAMPLE, TRIM
from programs import HERE, Contender, Failure, output
from report import memory, spread, table, times
from rounds import TOLERANCE, Row
from suite import Suite

TITLE = "Merging weight files"
MEMORY_DISK = "/dev/shm"
PARTS = {"read": "reading", "reduce": "arithmetic", "report": "report", "hash": "hash", "write": "writing"}
AGREE = 0.99  # share of the sampled values that must be the same
PROGRAM_HEAD = ["program", "ms", "ratio", "wanted", "peak MiB", "agree", "quiet"]
RULE_HEAD = ["rule", "edgectl ms", "edgectl's mean ms", "times the mean", "wanted", "Flower ms", "ratio"]
RULE_HEAD += ["wanted", "edgectl peak MiB", "Flower peak MiB", "agree", "quiet"]
MODEL_HEAD = ["merge", "edgectl ms", "mergekit ms", "ratio", "wanted", "edgectl peak MiB"]
MODEL_HEAD += ["mergekit peak MiB", "agree", "quiet"]


class Files(NamedTuple):
    """So many weight files of the same tensors."""

    count: int
    tensors: int
    rows: int
    columns: int

    def label(self) -> str:
        megabytes = self.tensors * self.rows * self.columns * 4 / 1e6
        shape = f"{self.tensors} tensors of {self.rows:,} × {self.columns:,}"
        return f"{self.count} files of {megabytes:.3g} MB ({shape})"


class Program(NamedTuple):
    """A program that takes the mean, and how many times as long as edgectl it must take."""

    library: str
    least: float


class Rule(NamedTuple):
    """A rule of edgectl's."""

    flags: list[str]
    most: float | None  # times the time of edgectl's mean
    least: float | None = None  # times as fast as Flower; None: Flower has no such function
    rounds: int | None = None  # that Flower takes part in; None: all
    base: bool = False  # whether edgectl needs one


class Merge(NamedTuple):
    """A merge of models."""

    flags: list[str]
    rounds: int  # that mergekit takes part in
    least: float  # times as fast as mergekit
    base: bool = False


BIG, MANY, MODELS = Files(8, 16, 4096, 1024), Files(50, 10, 1000, 1000), Files(10, 25, 4000, 1000)

PROGRAMS = {
    "PyTorch, in place": Program("pytorch", 2.0),
    "numpy, all files at once": Program("numpy", 3.5),
    "plain read and write": Program("copy", 0.74),  # 1 / 1.35
}

RULES = {
    "mean": Rule([], None, 1.0),
    "median": Rule(["--reduce=median"], 1.6, 10.0, 3),
    "trimmed-mean": Rule([f"--reduce=trimmed-mean:trim={TRIM}"], 1.6, 10.0, 3),
    "krum": Rule(["--reduce=krum"], None, 10.0, 1),
    "multi-krum": Rule(["--reduce=multi-krum"], 4.0),
    "geometric-median": Rule(["--reduce=geometric-median:steps=8"], 4.0),
    "centred-clipping": Rule(["--reduce=centred-clipping"], None, base=True),
    "bulyan": Rule(["--reduce=bulyan"], 8.0, 10.0, 1),
}

MERGES = {
    "linear": Merge([], 3, 4.0),
    "ties": Merge([f"--reduce=ties:density={DENSITY},scale=1"], 1, 14.0, base=True),
}


@dataclass
class Case:
    """Weight files on the memory disk, and the programs that merge them into one."""

    suite: Suite
    files: list[str]
    base: str
    out: Path
    samples: dict[str, list[float]] = field(default_factory=dict)  # the first result of each rule

    def edgectl(self, rule: str, flags: list[str], base=False, name="edgectl") -> Contender:
        """The whole process counts."""
        command = [self.suite.programs.edgectl_path, "aggregate", *self.files, "--uniform", *flags]
        command += ["--out", str(self.out), "--quiet", "--json", f"--threads={self.suite.threads}"]
        command += ["--base", self.base] if base else []

        def run() -> dict:
            start = time.perf_counter()
            told = output(command)
            us = (time.perf_counter() - start) * 1e6
            spent = {part: told.get(f"{part}_s", 0.0) for part in PARTS}
            return {"p50_us": us, "p99_us": us, "peak_rss_bytes": told.get("peak_rss_bytes")} | spent

        return Contender(name, lambda: self.checked(rule, run))

    def peer(self, name: str, library: str, rule: str, rounds=None, base=False) -> Contender:
        """A library in a fresh process; -I: the peers' own files are no packages."""
        case = {"library": library, "rule": rule, "files": self.files, "out": str(self.out)}
        case |= {"cpus": self.suite.programs.cpus[: self.suite.threads]}
        case |= {"base": self.base} if base else {}
        told = self.out.with_name(f"case-{library}-{rule}.json")  # an argument has at most 128 KiB
        told.write_text(json.dumps(case))
        command = [interpreter(library), "-I", str(HERE / "peers" / "merge.py"), str(told)]
        return Contender(name, lambda: self.checked(rule, lambda: output(command)), rounds=rounds)

    def checked(self, rule: str, run) -> dict:
        """One run, whose result must be that of the first program; what it wrote does not stay."""
        try:
            slot = run()
            sample = slot.pop("sample") if "sample" in slot else sample_of(self.out)
        except Failure as failure:
            raise Failure(str(failure)[-300:]) from failure  # without the names of all files
        finally:
            remove(self.out)
        slot["ms"] = slot["p50_us"] / 1e3
        if sample:
            slot["agree"] = agreement(self.samples.setdefault(rule, sample), sample)
            if slot["agree"] < AGREE:
                raise Failure(f"computes something else: {slot['agree']:.1%} of the values agree")
        return slot


def run(suite: Suite) -> list[str]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # removes the files first
    found: list[Row] = []
    return [
        *programs(suite, found),
        *rules(suite, found),
        *models(suite, found),
        f"Peers: {', '.join(versions(found)) or 'none'}.",
        "",
        "All files are float32 on a memory disk, and a run is one merge: of edgectl the whole process, of "
        "the others what follows the imports; Flower's functions get arrays that are in memory and write "
        "nothing. The plain copy reads all the bytes in pieces of 1 MiB, with a buffer for each thread, and "
        "writes as many as one file has. A ratio is the other program's time over edgectl's; `wanted` is its goal. Peak "
        "memory is of a fresh process, with its libraries and the file pages it maps. `agree` is the share "
        f"of sampled values, the first {SAMPLE} of each tensor, that are edgectl's but for rounding; "
        f"below {AGREE:.0%} a program is `n/a`. Flower's Krum and Bulyan, and mergekit's TIES, run "
        "in the first round only, some others in the first three. Krum and Bulyan withstand as many "
        "attackers as they can, of 50 files 23 and 11.",
    ]


def programs(suite: Suite, found: list[Row]) -> list[str]:
    with case_of(suite, BIG) as (case, label):
        peers = [case.peer(name, program.library, "mean") for name, program in PROGRAMS.items()]
        row = suite.measure(f"merge: {label}", [case.edgectl("mean", []), *peers])
    found.append(row)
    wanted = {"edgectl": "", **{name: f"≥ {program.least:g}" for name, program in PROGRAMS.items()}}
    lines = [
        [
            name,
            spread(row, name, "ms"),
            times(row.ratio("edgectl", name)),
            goal,
            memory(row, name),
            agreed(row, name),
            row.quiet(),
        ]
        for name, goal in wanted.items()
    ]
    return [f"Mean of {label}:", *table(PROGRAM_HEAD, lines), *parts(row)]


def parts(row: Row) -> list[str]:
    """Where the time of edgectl's threads goes."""
    if not row.has("edgectl"):
        return []
    seconds = {part: row.median("edgectl", part) for part in PARTS}
    total = sum(seconds.values())
    cells = [f"{1e3 * s:.0f} ({s / total:.0%})" for s in seconds.values()]
    return ["Where the time of its threads goes, ms:", *table(list(PARTS.values()), [cells])]


def rules(suite: Suite, found: list[Row]) -> list[str]:
    """Each rule with edgectl's mean and Flower's function in turn."""
    lines = []
    with case_of(suite, MANY, base=True) as (case, label):
        for name, rule in RULES.items():
            contenders = [case.edgectl(name, rule.flags, rule.base)]
            if name != "mean":
                contenders.append(case.edgectl("mean", [], name="mean"))
            if rule.least:
                contenders.append(case.peer("Flower", "flwr", name, rule.rounds))
            row = suite.measure(f"merge: {name} of {label}", contenders)
            found.append(row)
            lines.append(rule_cells(name, rule, row))
    return [f"Rules, on {label}:", *table(RULE_HEAD, lines)]


def rule_cells(name: str, rule: Rule, row: Row) -> list[str]:
    flower = rule.least is not None
    return [
        name,
        spread(row, "edgectl", "ms"),
        spread(row, "mean", "ms") if name != "mean" else "",
        times(row.ratio("mean", "edgectl")) if name != "mean" else "",
        f"≤ {rule.most:g}" if rule.most else "",
        spread(row, "Flower", "ms") if flower else "",
        times(row.ratio("edgectl", "Flower")) if flower else "",
        f"≥ {rule.least:g}" if flower else "",
        memory(row, "edgectl"),
        memory(row, "Flower") if flower else "",
        agreed(row, "Flower") if flower else "",
        row.quiet(),
    ]


def models(suite: Suite, found: list[Row]) -> list[str]:
    lines = []
    with case_of(suite, MODELS, base=True) as (case, label):
        for name, merge in MERGES.items():
            ours = case.edgectl(name, merge.flags, merge.base)
            theirs = case.peer("mergekit", "mergekit", name, merge.rounds, merge.base)
            row = suite.measure(f"merge: {name} of {label}", [ours, theirs])
            found.append(row)
            lines.append(model_cells(name, merge, row))
    return [f"Model merges, on {label}:", *table(MODEL_HEAD, lines)]


def model_cells(name: str, merge: Merge, row: Row) -> list[str]:
    return [
        name,
        spread(row, "edgectl", "ms"),
        spread(row, "mergekit", "ms"),
        times(row.ratio("edgectl", "mergekit")),
        f"≥ {merge.least:g}",
        memory(row, "edgectl"),
        memory(row, "mergekit"),
        agreed(row, "mergekit"),
        row.quiet(),
    ]


@contextmanager
def case_of(suite: Suite, files: Files, base: bool = False) -> Iterator[tuple[Case, str]]:
    """Makes the files, and removes them whatever happens."""
    if suite.quick:
        files = files._replace(rows=files.rows // 200)
    with tempfile.TemporaryDirectory(prefix="edgectl-merge-", dir=MEMORY_DISK) as name:
        folder = Path(name)
        paths = [folder / f"{i:02}.safetensors" for i in range(files.count)]
        for i, path in enumerate(paths):
            write(path, files, i)
        if base:
            write(folder / "base.safetensors", files, files.count)
        base_path = str(folder / "base.safetensors")
        case = Case(suite, [str(path) for path in paths], base_path, folder / "out.safetensors")
        yield case, files.label()


def write(path: Path, files: Files, number: int) -> None:
    """Seeded N(0, 0.02), a little wider in each file than in that before: Krum has one choice."""
    rng, std = np.random.default_rng(number), np.float32(0.02 * (1 + number / 100))
    shape = (files.rows, files.columns)
    tensors = {f"layers.{i:02}.weight": rng.standard_normal(shape, np.float32) for i in range(files.tensors)}
    for tensor in tensors.values():
        tensor *= std
    safetensors.numpy.save_file(tensors, path)


def interpreter(library: str) -> str:
    """Flower and mergekit have virtual environments beside the main one (see run.sh)."""
    if library not in ("flwr", "mergekit"):
        return sys.executable
    return f"{sys.prefix.removesuffix('-venv')}-{library}-venv/bin/python"


def sample_of(out: Path) -> list[float]:
    """The first values of each tensor of the merged file, or of the one in that folder."""
    path = next(out.glob("*.safetensors")) if out.is_dir() else out
    with safetensors.safe_open(path, framework="np") as file:
        heads = [file.get_slice(name)[:1].flat[:SAMPLE] for name in sorted(file.keys())]
    return np.concatenate(heads).tolist()


def agreement(expected: list[float], sample: list[float]) -> float:
    """Share of values that are the same, but for rounding relative to the largest."""
    if len(sample) != len(expected):
        raise Failure(f"gives {len(sample)} numbers, expected {len(expected)}")
    limit = TOLERANCE * np.abs(expected).max()
    return float(np.mean(np.abs(np.subtract(sample, expected)) <= limit))


def agreed(row: Row, name: str) -> str:
    """With edgectl's result, which is the first if there is one."""
    slots = row.slots.get(name, []) if row.has("edgectl") else []
    shares = [slot["agree"] for slot in slots if "agree" in slot]
    return f"{min(shares):.1%}" if shares else "n/a"


def remove(out: Path) -> None:
    if out.is_dir():
        shutil.rmtree(out)
    else:
        out.unlink(missing_ok=True)


def versions(rows: list[Row]) -> list[str]:
    slots = (slot for row in rows for of_program in row.slots.values() for slot in of_program)
    return list(dict.fromkeys(slot["version"] for slot in slots if slot.get("version")))
