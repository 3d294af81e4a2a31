"""Many updates in one merge, and many nodes in one simulation, against PyTorch in one process.

Not part of `all`: PyTorch's rounds of 10,000 nodes take half a minute each.
"""

import json
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import safetensors.numpy

from programs import HERE, Contender, output
from report import memory, number, spread, table, times
from sections.merge import MEMORY_DISK, Case
from suite import Suite

TITLE = "Many updates and many nodes"
COUNTS = [100, 1_000, 10_000]
ROWS, TRAIN_ROWS, COLUMNS = 8, 6, 16  # of a node
ROUNDS = 3
UPDATE_HEAD = ["updates", "numbers in each", "edgectl ms", "wanted", "edgectl peak MiB", "PyTorch ms", "ratio"]
UPDATE_HEAD += ["agree", "quiet"]
NODE_HEAD = ["nodes", "edgectl ms a round", "for each node, µs", "wanted", "edgectl peak MiB", "wanted"]
NODE_HEAD += ["PyTorch ms a round", "ratio", "PyTorch peak MiB", "quiet"]
JOB = """\
data = { format = "wide", node = "node", split = "split", label = "label" }
model = { d_model = 16, n_heads = 2, n_layers = 1, d_ff = 48, patch_len = 4 }
train = { epochs = 1, batch = 8 }
federation = { rounds = ROUNDS }
""".replace("ROUNDS", str(ROUNDS))


def run(suite: Suite) -> list[str]:
    counts = suite.some(COUNTS, 2)
    return [
        "The mean of many updates:",
        *table(UPDATE_HEAD, [updates(suite, n, size) for n in counts for size in (2, 3_000)]),
        f"A round of many nodes, each with {TRAIN_ROWS} rows to train on and {ROWS - TRAIN_ROWS} to test, of "
        "a model of 2,962 parameters:",
        *table(NODE_HEAD, [nodes(suite, n) for n in counts]),
        "Files are on a memory disk. A merge of edgectl is the whole process; PyTorch, which has imported "
        "what it needs, loads file after file and adds it in place. A round is one step of AdamW on every "
        "node, the mean of all models by their examples, and a test of the new one on all test rows; "
        f"edgectl's checks, reports and files are in it, {ROUNDS} rounds of one process, of which the median "
        "counts. PyTorch trains node after node in one process, with an `nn.TransformerEncoder` of the same "
        "sizes, and keeps no update: it has no checks. Its peak memory is mostly its libraries.",
    ]


def updates(suite: Suite, count: int, size: int) -> list[str]:
    with files(suite, count, size) as case:
        ours = case.edgectl("mean", ["--max-deviation=off"])
        row = suite.measure(f"merge {count} x {size}", [ours, case.peer("PyTorch", "pytorch", "mean")])
    agree = [slot["agree"] for slots in row.slots.values() for slot in slots if "agree" in slot]
    return [
        f"{count:,}",
        f"{size:,}",
        spread(row, "edgectl", "ms"),
        "≤ 2000" if count == 10_000 else "",
        memory(row, "edgectl"),
        spread(row, "PyTorch", "ms"),
        times(row.ratio("edgectl", "PyTorch")),
        f"{min(agree):.1%}" if agree else "n/a",
        row.quiet(),
    ]


def nodes(suite: Suite, count: int) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="edgectl-nodes-", dir=MEMORY_DISK) as name:
        folder = Path(name)
        table_of_nodes(folder / "nodes.csv", count)
        (folder / "job.toml").write_text(JOB)
        command = [suite.programs.edgectl_path, "simulate", "--config", str(folder / "job.toml")]
        command += ["--data", str(folder / "nodes.csv"), "--out", str(folder / "run"), "--quiet", "--json"]
        command += [f"--threads={suite.threads}"]
        row = suite.measure(f"{count} nodes", [Contender("edgectl", lambda: ours(command)), peer(suite, folder)])
    each = number(row.median("edgectl") / count) if row.has("edgectl") else "n/a"
    return [
        f"{count:,}",
        spread(row, "edgectl", "ms"),
        each,
        "≤ 6000 ms" if count == 10_000 else "",
        memory(row, "edgectl"),
        "≤ 200" if count == 10_000 else "",
        spread(row, "PyTorch", "ms"),
        times(row.ratio("edgectl", "PyTorch")),
        memory(row, "PyTorch"),
        row.quiet(),
    ]


def ours(command: list[str]) -> dict:
    told = output(command)
    seconds = sorted(round["wall_s"] for round in told["rounds"])
    us = seconds[len(seconds) // 2] * 1e6
    return {"p50_us": us, "p99_us": us, "ms": us / 1e3, "peak_rss_bytes": told["peak_rss_bytes"]}


def peer(suite: Suite, folder: Path) -> Contender:
    case = {"data": str(folder / "nodes.csv"), "cpus": suite.programs.cpus[: suite.threads]}
    command = [sys.executable, "-I", str(HERE / "peers" / "nodes.py"), json.dumps(case)]

    def run() -> dict:
        slot = output(command)
        return slot | {"ms": slot["p50_us"] / 1e3}

    return Contender("PyTorch", run)


@contextmanager
def files(suite: Suite, count: int, size: int) -> Iterator[Case]:
    """Updates of one tensor each, as a case of the section `merge`."""
    with tempfile.TemporaryDirectory(prefix="edgectl-many-", dir=MEMORY_DISK) as name:
        folder, rng = Path(name), np.random.default_rng(1)
        paths = [folder / f"{i:05}.safetensors" for i in range(count)]
        for path in paths:
            safetensors.numpy.save_file({"w": rng.standard_normal(size, np.float32)}, path)
        yield Case(suite, [str(path) for path in paths], "", folder / "out.safetensors")


def table_of_nodes(path: Path, count: int) -> None:
    """Two classes, whose means differ in half of the columns."""
    rng = random.Random(1)
    with path.open("w") as file:
        file.write("node,split,label," + ",".join(f"x{i}" for i in range(COLUMNS)) + "\n")
        for node in range(count):
            for row in range(ROWS):
                split, label = "train" if row < TRAIN_ROWS else "test", "ab"[row % 2]
                shift = [0.8 * (row % 2) * (i < COLUMNS // 2) for i in range(COLUMNS)]
                values = ",".join(f"{rng.gauss(mean, 1):.3f}" for mean in shift)
                file.write(f"node{node:05},{split},{label},{values}\n")
