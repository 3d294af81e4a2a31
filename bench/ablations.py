"""What the choices of the default job gain: `ablations.py EDGECTL --cache FILE [--final] [--write BENCHMARKS.md]`.

A default job names only `[data]`, `[window]` and `patch_len` (`accuracy.py`). Every variant changes one choice of
it, and both are trained on the same folds of the training rows from the same seeds; what counts are the answers for
the fold that is held out, after the last epoch. The rows for the test are not touched. Screened are six sets with
two seeds; `--final` goes on with the finalists on all twelve with five. What has been trained is kept in the cache as
JSON lines, so that a run goes on where it was stopped. Variants whose code is not kept stand in
`ablations.jsonl` as they were found. Needs Python's standard library alone.
"""

import argparse
import hashlib
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, variance

from markers import write_section
from preprocessing import CASES, ROOT, Case, read_job, toml

SCREENED = ["gunpoint", "italypowerdemand", "ecg_mts", "driver_events", "car_imu", "mnist14"]
ALL = [*SCREENED, "basicmotions", "japanesevowels", "watch", "optdigits", "caviar", "urfall"]
# Of sets with few windows a seed trains every fold, of the others one.
SMALL = {"gunpoint", "italypowerdemand", "basicmotions", "japanesevowels", "ecg_mts", "driver_events"}
FOLDS = 5
RECORD = Path(__file__).with_suffix(".jsonl")
EPOCH = re.compile(r"held out: loss (\S+), accuracy ([0-9.]+)")

ADAMW = {"name": "adamw"}
NO_DECAY = {"params": ["*bias", "*norm*", "pos_embed"], "weight_decay": 0.0}


def augmented(**strengths: float) -> dict:
    return {"train.augment": strengths}


# Name, and `section.key` with its value.
VARIANTS = {
    **{f"rate {lr:g}": {"train.lr": lr} for lr in (1e-3, 3e-3)},
    **{f"{n} epochs": {"train.epochs": n} for n in (50, 200)},
    **{f"batch {n}": {"train.batch": n} for n in (8, 16)},
    **{f"weight decay {w:g}": {"train.optimizer": ADAMW | {"weight_decay": w}} for w in (0.0, 0.05, 0.1)},
    "no decay of norms, biases, positions": {"train.groups": [NO_DECAY]},
    **{f"warm-up {w:g}": {"train.schedule": {"name": "cosine", "warmup": w}} for w in (0.0, 0.1)},
    **{f"smoothing {s:g}": {"train.label_smoothing": s} for s in (0.0, 0.2)},
    "clip 5": {"train.clip_norm": 5.0},
    **{f"dropout {p:g}": {"model.dropout": p} for p in (0.0, 0.2)},
    **{f"positions {p}": {"model.positions": p} for p in ("sinusoidal", "rotary", "alibi")},
    **{f"pooling {p}": {"model.pooling": p} for p in ("class-token", "last")},
    "no augmentation": augmented(jitter=0.0, scale=0.0),
    "jitter 0.05, scale 0.1": augmented(jitter=0.05, scale=0.1),
    "jitter 0.2, scale 0.3": augmented(jitter=0.2, scale=0.3),
    "no jitter": augmented(jitter=0.0),
    "no scale": augmented(scale=0.0),
    "time warp 0.1": augmented(time_warp=0.1),
    "crop 0.1": augmented(crop=0.1),
    "channels dropped 0.1": augmented(channel_dropout=0.1),
    "shift 4": augmented(shift=4),
    "classes weighed": {"train.class_weights": "balanced"},
    **{f"{n} blocks": {"model.n_layers": n} for n in (1, 3)},
    "width 32": {"model.d_model": 32, "model.d_ff": 64},
    "hidden 256": {"model.d_ff": 256},
    "lamb": {"train.optimizer": {"name": "lamb"}, "train.lr": 1e-2},
    "schedule-free": {"train.optimizer": {"name": "schedule-free-adamw"}, "train.schedule": {"name": "constant"}},
}
FINALISTS = ["50 epochs", "200 epochs", "no augmentation"]


@dataclass(frozen=True)
class Run:
    """What a model makes of the held-out windows after its last epoch."""

    accuracy: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class Row:
    """A variant beside the default: for each set the mean paired difference and its error, in points."""

    group: str
    name: str
    sets: dict[str, tuple[float, float]]
    loss: float

    def mean(self) -> float:
        return mean(d for d, _ in self.sets.values())

    def interval(self) -> float:
        """Half the 95 % interval of the mean over these sets."""
        return 1.96 * math.sqrt(sum(error**2 for _, error in self.sets.values())) / len(self.sets)


class Bench:
    """The command, the data, and what has been trained."""

    def __init__(self, edgectl: Path, shared: Path, cache: Path):
        self.edgectl, self.shared, self.cache = edgectl, shared, cache
        lines = cache.read_text().splitlines() if cache.exists() else []
        found = [json.loads(line) for line in lines]
        self.known = {row["key"]: Run(**row["run"]) for row in found}
        self.fresh = self.digest_of_fresh()

    def digest_of_fresh(self) -> str:
        """What a default job's fresh model is: other defaults are another experiment."""
        with tempfile.TemporaryDirectory() as folder:
            config, out = Path(folder, "job.toml"), Path(folder, "fresh.safetensors")
            config.write_text(toml({"data": {"path": str(ROOT / "data/gunpoint")}}))
            command = [self.edgectl, "init", "--config", config, "--out", out, "--quiet"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            values = out.read_bytes()
        return hashlib.sha256(values).hexdigest()

    def job(self, case: Case, change: dict, seed: int, fold: int) -> dict:
        job = read_job(case, self.shared)
        held_out = dict(case.held_out)
        if held_out["by"] == "series":
            held_out |= {"fraction": 1 / FOLDS, "fold": fold}
        made = {
            "data": job["data"] | case.data,
            "window": job.get("window", {}) | case.window,
            "model": {key: value for key, value in job.get("model", {}).items() if key == "patch_len"},
            "train": {"seed": seed, "validation": held_out},
        }
        for path, value in change.items():
            section, key = path.split(".")
            made[section][key] = value
        return made

    def run(self, case: Case, change: dict, seed: int, fold: int) -> Run:
        named = [self.fresh, case.name, change, seed, fold, case.held_out]
        key = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]
        if key not in self.known:
            run = self.known[key] = self.trained(self.job(case, change, seed, fold))
            row = {"key": key, "set": case.name, "change": change, "seed": seed, "fold": fold, "run": asdict(run)}
            with self.cache.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return self.known[key]

    def trained(self, job: dict) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            config, out = Path(folder, "job.toml"), Path(folder, "model.safetensors")
            config.write_text(toml(job))
            began = time.monotonic()
            command = [self.edgectl, "train", "--config", config, "--out", out, "--threads=1"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{config.read_text()}\n{done.stderr}")
            # The job itself ships its last weights; with a held-out part those of the best epoch are shipped.
            loss, accuracy = EPOCH.findall(done.stderr)[-1]
            return Run(float(accuracy), float(loss), round(time.monotonic() - began, 2))

    def runs(self, case: Case, change: dict, seeds: int) -> list[Run]:
        by_series = case.held_out["by"] == "series"
        if case.name in SMALL:
            at = [(seed, fold) for seed in range(seeds) for fold in range(FOLDS)]
        else:
            at = [(seed, seed % FOLDS if by_series else 0) for seed in range(seeds)]
        return [self.run(case, change, *place) for place in at]

    def row(self, group: str, name: str, cases: list[Case], seeds: int) -> Row:
        sets, losses = {}, []
        for case in cases:
            pairs = list(zip(self.runs(case, VARIANTS[name], seeds), self.runs(case, {}, seeds)))
            differences = [100 * (own.accuracy - default.accuracy) for own, default in pairs]
            spread = variance(differences) if len(differences) > 1 else math.nan
            sets[case.name] = (mean(differences), math.sqrt(spread / len(differences)))
            losses.append(mean(own.loss - default.loss for own, default in pairs))
        return Row(group, name, sets, mean(losses))


def recorded() -> list[Row]:
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    return [Row(**json.loads(line)) for line in lines]


def table(rows: list[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.sets))
    lines = [["change", "mean, points", "loss", *names], ["---"] * (len(names) + 3)]
    for row in sorted(rows, key=lambda row: -row.mean()):
        cells = [f"{row.sets[name][0]:+.1f}" if name in row.sets else "–" for name in names]
        lines.append([row.name, f"{row.mean():+.2f} ± {row.interval():.2f}", f"{row.loss:+.3f}", *cells])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


NOTES = """\
## Ablations

Made by `bench/ablations.py EDGECTL --cache FILE{final} --write BENCHMARKS.md`.

Paired differences in points of accuracy to the default job, on folds of the training rows that are held out (of
watch and car_imu the last quarter of each piece); the rows for the test took no part. The mean is over the sets, with
half its 95 % interval over runs; the loss is that on the same rows. {seeds} seeds, a fold each of large sets and all
{folds} of small ones. A gain within its interval is none to keep. Tables beside other defaults than those of now stand
as they were found then, with two seeds but for the finalist, as do variants whose code was not kept (convolution,
mixup, CutMix, other starts). What is chosen on such rows is taken for a little better than it is."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared/data", help="data of examples/shared")
    parser.add_argument("--cache", type=Path, required=True, help="JSON lines of what has been trained")
    parser.add_argument("--final", action="store_true", help="then the finalists on all sets with five seeds")
    parser.add_argument("--sets", help="screen on these sets, separated by commas")
    parser.add_argument("--seeds", type=int, default=2, help="of the screening")
    parser.add_argument("--only", help="screen these variants, separated by commas")
    parser.add_argument("--write", type=Path, help="put the tables into this file")
    args = parser.parse_args()
    bench = Bench(args.edgectl.resolve(), args.shared.resolve(), args.cache)

    def found(names: list[str]) -> list[Case]:
        cases = [case for name in names for case in CASES if case.name == name]
        return [case for case in cases if Path(read_job(case, bench.shared)["data"]["path"]).exists()]

    screened = found(args.sets.split(",") if args.sets else SCREENED)
    tasks = [("Beside the defaults of now", name, screened, args.seeds) for name in VARIANTS]
    if args.only:
        tasks = [task for task in tasks if task[1] in args.only.split(",")]
    if args.final:
        tasks += [("Finalists beside the defaults of now, five seeds", name, found(ALL), 5) for name in FINALISTS]
    rows = []
    for task in tasks:
        rows.append(bench.row(*task))
        print(f"{rows[-1].name:38s} {rows[-1].mean():+5.2f} ± {rows[-1].interval():.2f}", flush=True)
    rows += recorded()
    text = NOTES.format(final=" --final" if args.final else "", seeds=args.seeds, folds=FOLDS)
    for group in dict.fromkeys(row.group for row in rows):
        text += f"\n\n### {group}\n\n{table([row for row in rows if row.group == group])}"
    print(f"\n{text}")
    if args.write:
        write_section(args.write, "ablations", text)


if __name__ == "__main__":
    sys.exit(main())
