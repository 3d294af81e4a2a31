"""How well the default job and a plain one learn, beside PyTorch's encoder: `accuracy.py EDGECTL [--write BENCHMARKS.md]`.

Every classification job of `examples/` and `examples/shared/` is trained as a *default* job, which names only
`[data]`, `[window]` and `patch_len`, and as a *plain* one: 64 / 2 layers / 4 heads / 128, AdamW 1e-3, cosine with
5 % warm-up, label smoothing 0.1, jitter and scale. The peer is `../shared/reference/pytorch_encoder.py` on the
same windows (`edgectl preprocess windows`), with the same epochs and batch as the plain job. All are tested on
the rows for the test. Needs Python with torch, numpy and safetensors; sets and the peer that are not on the
machine are left out. `--job NAME=KEY=VALUE,…` adds variants of the plain job, for ablations.
"""

import argparse
import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from machine import cpu
from markers import write_section
from preprocessing import CASES, ROOT, Case, read_job, toml

# Quantiles of Student's t for 95 %, by degrees of freedom.
T95 = [math.nan, 12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26]
T95 += [2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09]


@dataclass
class Budget:
    """What the plain job and the peer get: passes over the training windows, and windows a step."""

    epochs: int
    batch: int = 32


SETS = {
    "gunpoint": Budget(100, 16),
    "italypowerdemand": Budget(80, 16),
    "basicmotions": Budget(60, 16),
    "japanesevowels": Budget(40),
    "optdigits": Budget(20),
    "mnist14": Budget(20),
    "watch": Budget(10),
    "ecg_mts": Budget(50, 16),
    "caviar": Budget(20),
    "urfall": Budget(20),
    "car_imu": Budget(25),
    "driver_events": Budget(40),
}

MODEL = {"d_model": 64, "n_layers": 2, "n_heads": 4, "d_ff": 128}
TRAIN = {
    "lr": 1e-3,
    "optimizer": {"name": "adamw", "weight_decay": 0.01},
    "schedule": {"name": "cosine", "warmup": 0.05},
    "label_smoothing": 0.1,
    "augment": {"jitter": 0.05, "scale": 0.1},
}


def default_job(case: Case, job: dict) -> dict:
    data = job["data"] | case.data
    model = {key: value for key, value in job.get("model", {}).items() if key == "patch_len"}
    return {"data": data, "window": job.get("window", {}), "model": model}


def plain_job(case: Case, job: dict) -> dict:
    plain, budget = default_job(case, job), SETS[case.name]
    plain["preprocess"] = [{"step": "z-score"}]
    plain["model"] = MODEL | plain["model"]
    plain["train"] = TRAIN | {"epochs": budget.epochs, "batch": budget.batch}
    return plain


class Bench:
    """The command, the peer, the data, and a folder for what is made."""

    def __init__(self, edgectl: Path, shared: Path, folder: Path):
        self.edgectl, self.shared, self.folder = edgectl, shared, folder
        self.peer = self.windows = None
        path = shared.parent / "reference/pytorch_encoder.py"
        if path.exists():
            spec = importlib.util.spec_from_file_location("pytorch_encoder", path)
            self.peer = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(self.peer)

    def call(self, *arguments: object) -> dict:
        command = [str(self.edgectl), *map(str, arguments), "--json", "--quiet", "--threads=1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout)

    def of_job(self, case: Case, job: dict, name: str, seed: int) -> tuple[float, float]:
        """Accuracy, and seconds of training."""
        at = self.folder / f"{case.name}-{name}-{seed}"
        config, model = at.with_suffix(".toml"), at.with_suffix(".safetensors")
        config.write_text(toml(job | {"train": job.get("train", {}) | {"seed": seed}}))
        began = time.monotonic()
        self.call("train", "--config", config, "--out", model)
        seconds = time.monotonic() - began
        path = job["data"]["path"]
        found = self.call("eval", "--model", model, "--data", path, "--config", config)
        return found["accuracy"], seconds

    def of_peer(self, case: Case, plain: dict, seed: int) -> tuple[float, float]:
        import torch
        from safetensors.torch import load_file

        torch.set_num_threads(1)
        at = self.folder / f"{case.name}-windows"
        config, out = at.with_suffix(".toml"), at.with_suffix(".safetensors")
        if not out.exists():
            config.write_text(toml(plain))
            self.call("preprocess", "windows", "--config", config, "--out", out)
        tensors, budget = load_file(out), SETS[case.name]
        (x, y), (test_x, test_y) = ((tensors[f"{side}.x"], tensors[f"{side}.y"]) for side in ("train", "test"))
        lengths, test_lengths = tensors["train.lengths"], tensors["test.lengths"]
        if min(lengths.min(), test_lengths.min()) == x.shape[1]:
            lengths = test_lengths = None
        began = time.monotonic()
        patch, classes = plain["model"].get("patch_len", 1), int(max(y.max(), test_y.max())) + 1
        net = self.peer.fit(x, y, classes, patch, budget.epochs, budget.batch, seed, lengths)
        seconds = time.monotonic() - began
        return self.peer.accuracy(net, test_x, test_y, test_lengths), seconds


def interval(differences: list[float]) -> float:
    """Half the 95 % interval of the mean of paired differences."""
    n = len(differences)
    return T95[min(n - 1, len(T95) - 1)] * stdev(differences) / math.sqrt(n) if n > 1 else math.nan


def widest(name: str, outcomes: dict, jobs: list[str], seeds: int) -> float:
    """The widest interval of a job's difference to the peer, in points."""
    gains = [[100 * (outcomes[name, job, s][0] - outcomes[name, "peer", s][0]) for s in range(seeds)] for job in jobs]
    return max(interval(gain) for gain in gains)


def variant(text: str) -> tuple[str, dict]:
    """`NAME=model.positions:"sinusoidal",train.lr:0.002` as a name and keys of the plain job."""
    name, _, keys = text.partition("=")
    found: dict = {}
    for part in filter(None, keys.split(";")):
        path, _, value = part.partition(":")
        section, key = path.split(".")
        found.setdefault(section, {})[key] = json.loads(value)
    return name, found


def row(name: str, outcomes: dict, jobs: list[str], seeds: int) -> list[str]:
    cells = [name, str(seeds)]
    peers = [outcomes.get((name, "peer", seed)) for seed in range(seeds)]
    has_peer = all(peers)
    if has_peer:
        cells.append(f"{mean(a for a, _ in peers):.4f} ± {stdev(a for a, _ in peers) if seeds > 1 else 0:.4f}")
    for job in jobs:
        found = [outcomes[name, job, seed] for seed in range(seeds)]
        cells.append(f"{mean(a for a, _ in found):.4f} ± {stdev(a for a, _ in found) if seeds > 1 else 0:.4f}")
        if has_peer:
            differences = [100 * (own[0] - peer[0]) for own, peer in zip(found, peers)]
            cells.append(f"{mean(differences):+.2f} ± {interval(differences):.2f}")
    seconds = [mean(outcomes[name, job, seed][1] for seed in range(seeds)) for job in jobs]
    cells += [f"{s:.1f}" for s in seconds]
    if has_peer:
        cells.append(f"{mean(s for _, s in peers):.1f}")
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared/data", help="data of examples/shared")
    parser.add_argument("--only", help="these sets, separated by commas")
    parser.add_argument("--seeds", type=int, default=5, help="at least so many")
    parser.add_argument("--most-seeds", type=int, default=20, help="at most so many, until the interval is narrow")
    parser.add_argument("--interval", type=float, default=1.0, help="half of the widest 95 %% interval, in points")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--job", action="append", default=[], type=variant, help="a variant of the plain job")
    parser.add_argument("--write", type=Path, help="put the table into this file")
    args = parser.parse_args()
    cases = [c for c in CASES if c.name in SETS and (not args.only or c.name in args.only.split(","))]
    started, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.edgectl.resolve(), args.shared.resolve(), Path(folder))
        has = {case.name: Path(read_job(case, bench.shared)["data"]["path"]).exists() for case in cases}
        missing = [name for name, is_there in has.items() if not is_there]
        cases = [case for case in cases if has[case.name]]
        with_peer = bench.peer is not None and not args.no_peer
        outcomes = {}
        seeds = {}
        for case in cases:  # one set after the other, so that own runs and the peer's meet the same machine
            job = read_job(case, bench.shared)
            jobs = {"default": default_job(case, job), "plain": plain_job(case, job)}
            for name, keys in args.job:
                sections = jobs["plain"]
                jobs[name] = sections | {key: sections.get(key, {}) | value for key, value in keys.items()}
            done, todo = 0, args.seeds
            while done < todo:
                with ThreadPoolExecutor(os.cpu_count()) as pool:
                    tasks = {}
                    for seed in range(done, todo):
                        for name, of_job in jobs.items():
                            tasks[case.name, name, seed] = pool.submit(bench.of_job, case, of_job, name, seed)
                    outcomes |= {key: task.result() for key, task in tasks.items()}
                if with_peer:
                    for seed in range(done, todo):
                        outcomes[case.name, "peer", seed] = bench.of_peer(case, jobs["plain"], seed)
                done = todo
                if with_peer and widest(case.name, outcomes, list(jobs), done) > args.interval:
                    todo = min(done + 3, args.most_seeds)
            seeds[case.name] = done
            print("|", " | ".join(row(case.name, outcomes, list(jobs), done)), "|", flush=True)
    head = ["data", "seeds"] + (["PyTorch"] if with_peer else [])
    for name in ["default", "plain", *(name for name, _ in args.job)]:
        head += [name] + (["points beside PyTorch"] if with_peer else [])
    head += [f"{name}, s" for name in ["default", "plain", *(name for name, _ in args.job)]]
    head += ["PyTorch, s"] if with_peer else []
    names = ["default", "plain", *(name for name, _ in args.job)]
    table = [head, ["---"] * len(head)] + [row(case.name, outcomes, names, seeds[case.name]) for case in cases]
    text = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    if with_peer:
        for name in names:
            gains = [
                100 * mean(outcomes[c.name, name, s][0] - outcomes[c.name, "peer", s][0] for s in range(seeds[c.name]))
                for c in cases
            ]
            text += f"\n\nMean over the sets, {name} beside PyTorch: {mean(gains):+.2f} points."
    note = "## Accuracy beside PyTorch\n\nMade by `bench/accuracy.py EDGECTL --write BENCHMARKS.md`.\n\n"
    note += (
        f"Accuracy on the rows for the test, mean ± deviation over the seeds, and the mean paired difference to "
        f"PyTorch's encoder in points with half its 95 % interval; at least {args.seeds} seeds, and up to "
        f"{args.most_seeds} until it is {args.interval:g} or less. One thread each; {cpu()[0]}, load {load:.1f} at the "
        f"start, {time.monotonic() - started:.0f} s in all."
    )
    if missing:
        note += f" Not on the machine: {', '.join(missing)}."
    print(f"{note}\n\n{text}")
    if args.write:
        write_section(args.write, "accuracy", f"{note}\n\n{text}")


if __name__ == "__main__":
    sys.exit(main())
