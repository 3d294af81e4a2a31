"""What preprocessing does to accuracy: `preprocessing.py EDGECTL [--write BENCHMARKS.md]`.

Every job of `examples/` and `examples/shared/` is trained with four variants of `[[preprocess]]`, all else
being equal, and tested on training rows that are held out; the test rows are not touched. Sets whose data
is not on the machine are left out. Needs Python's standard library alone.
"""

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import tempfile
import sys
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, pstdev
from threading import Lock

from machine import cpu
from markers import write_section

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = ["none", "scale", "scale, denoise", "scale, half"]
MODEL = {"d_model": 32, "n_heads": 4, "n_layers": 2, "d_ff": 64, "dropout": 0.1}
Z = [{"step": "z-score"}]
HALF = [{"step": "decimate", "factor": 2}]


def savgol(length: int) -> list[dict]:
    return [{"step": "savitzky-golay", "len": length, "order": 2}]


def hampel(length: int) -> list[dict]:
    return [{"step": "hampel", "len": length}]


def low_pass(hz: float) -> list[dict]:
    return [{"step": "butterworth", "band": "low-pass", "order": 2, "cutoff_hz": [hz]}]


def resize(width: int, height: int, to_width: int, to_height: int) -> list[dict]:
    size = {"width": width, "height": height, "to_width": to_width, "to_height": to_height}
    return [{"step": "resize", **size}]


@dataclass
class Case:
    """A job and its variants; without `denoise` there is no step that would fit the data."""

    name: str
    denoise: list[dict] | None
    epochs: int
    half: list[dict] = field(default_factory=lambda: HALF)
    scale: list[dict] = field(default_factory=lambda: Z)
    gaps: list[dict] = field(default_factory=list)
    batch: int = 32
    data: dict = field(default_factory=dict)
    window: dict = field(default_factory=dict)
    held_out: dict = field(default_factory=lambda: {"fraction": 0.25, "by": "series"})

    def steps(self, variant: str) -> list[dict] | None:
        """What filters comes before what scales; `pca` looks at scaled channels."""
        if variant == "none":
            return self.gaps
        if variant == "scale":
            return self.gaps + self.scale
        if variant == "scale, denoise":
            return None if self.denoise is None else self.gaps + self.denoise + self.scale
        if self.half[0]["step"] == "pca":
            return self.gaps + self.scale + self.half
        return self.gaps + self.half + self.scale

    def halves_time(self) -> bool:
        return self.half == HALF


BY_TIME = {"fraction": 0.25, "by": "time"}
BACKGROUND = [{"step": "background"}]

CASES = [
    Case("gunpoint", savgol(7), 200, batch=16),
    Case("italypowerdemand", savgol(5), 150, batch=16),
    Case("basicmotions", low_pass(2.5), 100, batch=16, data={"sample_rate_hz": 10.0}),
    Case("japanesevowels", savgol(5), 60, half=[{"step": "pca", "components": 6}]),
    Case("watch", low_pass(4.0), 20, data={"sample_rate_hz": 25.0}, window={"train_stride": 50}, held_out=BY_TIME),
    Case("optdigits", None, 25, half=resize(8, 1, 4, 1)),
    Case("mnist14", None, 40, half=resize(14, 1, 7, 1)),
    Case("ecg_mts", savgol(7), 80, batch=16),
    Case("caviar", hampel(5), 25, scale=[{"step": "difference", "channels": ["x", "y"]}, *Z]),
    Case("urfall", hampel(5), 25, scale=[{"step": "robust-scale"}]),
    Case("car_imu", low_pass(4.0), 40, data={"sample_rate_hz": 25.0}, held_out=BY_TIME),
    Case("driver_events", low_pass(4.0), 50, data={"sample_rate_hz": 25.0}),
    Case(
        "mitbih",
        [{"step": "butterworth", "band": "band-pass", "order": 2, "cutoff_hz": [0.5, 30.0]}],
        8,
        window={"stride": 10},
    ),
    Case("beijing_pm25", savgol(5), 15, gaps=[{"step": "impute", "method": "previous"}], held_out=BY_TIME),
    Case("fights", BACKGROUND, 30, half=resize(24, 18, 18, 12), held_out={"by": "scenes"}),
    Case("lawn_video", BACKGROUND, 30, half=resize(24, 18, 18, 12), held_out={"fraction": 0.4, "by": "time"}),
]


def toml_value(value: object) -> str:
    """JSON but for tables; strings are quoted alike."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def toml(job: dict) -> str:
    lines = []
    for name, section in job.items():
        for table in section if isinstance(section, list) else [section]:
            lines.append(f"[[{name}]]" if isinstance(section, list) else f"[{name}]")
            lines += [f"{json.dumps(key)} = {toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def job_file(name: str) -> Path:
    here = ROOT / "examples" / f"{name}.toml"
    return here if here.exists() else ROOT / "examples/shared" / f"{name}.toml"


def read_job(case: Case, shared: Path) -> dict:
    """The job with the paths of this machine."""
    path = job_file(case.name)
    job = tomllib.loads(path.read_text())

    def here(text: str) -> str:
        inside = text.removeprefix("../../../shared/data/")
        return str(shared / inside if inside != text else (path.parent / text).resolve())

    data = job["data"]
    for key in ("path", "split_file"):
        if key in data:
            data[key] = here(data[key])
    if "labels" in data:
        data["labels"]["path"] = here(data["labels"]["path"])
    return job


def variant_of(case: Case, job: dict, steps: list[dict], half: bool, seed: int) -> dict:
    job = deepcopy(job)
    job["data"] |= case.data
    window = job.get("window", {}) | case.window
    if half and case.halves_time():
        window = {key: value if key in ("label", "max_len") else value // 2 for key, value in window.items()}
    model = {key: value for key, value in job.get("model", {}).items() if key in ("patch_len", "positions")}
    held_out = dict(case.held_out)
    if held_out["by"] == "series":
        held_out["fold"] = seed
    train = {
        "epochs": case.epochs,
        "batch": case.batch,
        "lr": 2e-3,
        "optimizer": {"name": "adamw", "weight_decay": 0.05},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "label_smoothing": 0.1,
        "seed": seed,
    }
    if held_out["by"] != "scenes":
        train["validation"] = held_out
    sections = {"data": job["data"], "window": window, "preprocess": steps}
    return sections | {"model": MODEL | model, "train": train}


@dataclass
class Outcome:
    """What one model makes of the held-out windows."""

    accuracy: float
    windows: int
    largest: float  # share of the most frequent class


class Bench:
    """The command, the data, and a folder for what is made."""

    def __init__(self, edgectl: Path, shared: Path, folder: Path):
        self.edgectl, self.shared, self.folder = edgectl, shared, folder
        self.decoding = Lock()

    def has(self, case: Case) -> bool:
        return Path(read_job(case, self.shared)["data"]["path"]).exists()

    def call(self, *arguments: object) -> dict:
        command = [str(self.edgectl), *map(str, arguments), "--json", "--quiet", "--threads=1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
        return json.loads(done.stdout)

    def run(self, case: Case, variant: str, seed: int) -> Outcome | None:
        steps = case.steps(variant)
        if steps is None:
            return None
        job = variant_of(case, read_job(case, self.shared), steps, variant == "scale, half", seed)
        at = self.folder / f"{case.name}-{VARIANTS.index(variant)}-{seed}"
        if case.held_out["by"] == "scenes":
            job["data"]["path"] = str(self.decoded(Path(job["data"]["path"])))
            job["data"]["labels"] |= self.fold(job["data"]["labels"], at, seed)
        config = at.with_suffix(".toml")
        config.write_text(toml(job))
        if case.held_out["by"] == "scenes":
            found = self.call("simulate", "--config", config, "--rounds=1", "--out", at)["final"]
        else:
            found = self.call("train", "--config", config, "--out", at.with_suffix(".safetensors"))["val"]
        counts = [of_class["n"] for of_class in found["per_class"]]
        return Outcome(found["accuracy"], found["n"], max(counts) / sum(counts))

    def decoded(self, clips: Path) -> Path:
        """The same frames as Y4M, which reads to the same numbers without starting ffmpeg for each clip again."""
        folder = self.folder / "clips"
        with self.decoding:
            if not folder.exists():
                folder.mkdir()
                for clip in sorted(clips.iterdir()):
                    out = folder / f"{clip.stem}.y4m"
                    plain = ["-v", "error", "-nostdin", "-pix_fmt", "gray", "-strict", "-1"]
                    subprocess.run(["ffmpeg", "-i", clip, *plain, out], check=True)
        return folder

    def fold(self, labels: dict, at: Path, seed: int) -> dict:
        """Labels of one node, whose test is a fold of its training rows, as `[train.validation]` knows no
        scenes; the fold for the test is a gap."""
        with Path(labels["path"]).open() as file:
            rows = list(csv.DictReader(file))
        folds = sorted({row["fold"] for row in rows} - set(labels["test"]))
        path = at.with_suffix(".csv")
        with path.open("w") as file:
            file.write("file,label,fold,node\n")
            for row in rows:
                fold = "gap" if row["fold"] in labels["test"] else row["fold"]
                file.write(f"{Path(row['file']).stem},{row['label']},{fold},all\n")
        return {"path": str(path), "node": "node", "test": [folds[seed]]}


def cell(outcomes: list[Outcome | None]) -> str:
    found = [outcome.accuracy for outcome in outcomes if outcome]
    return f"{mean(found):.3f} ± {pstdev(found):.3f}" if found else "–"


def words(steps: list[dict] | None) -> str:
    """The steps as in a table: `butterworth low-pass 4 Hz`."""
    if steps is None:
        return "–"

    def of(step: dict) -> str:
        if step["step"] == "resize":
            return "resize {width} × {height} to {to_width} × {to_height}".format(**step)
        hz = ["–".join(f"{f:g}" for f in step["cutoff_hz"]) + " Hz"] if "cutoff_hz" in step else []
        keys = [str(step[key]) for key in ("band", "len", "factor", "components") if key in step]
        return " ".join([step["step"], *keys, *hz])

    return ", ".join(map(of, steps))


def row(case: Case, seeds: int, outcomes: dict) -> list[str]:
    of_variant = [[outcomes[case.name, variant, seed] for seed in range(seeds)] for variant in VARIANTS]
    plain = of_variant[0]
    windows = "/".join(str(n) for n in dict.fromkeys(outcome.windows for outcome in plain))
    return [
        case.name,
        windows,
        f"{mean(outcome.largest for outcome in plain):.3f}",
        *map(cell, of_variant),
        words(case.scale),
        words(case.denoise),
        words(case.half),
        f"{case.epochs}",
        case.held_out["by"],
    ]


WHAT = ["data", "held-out windows", "largest class"]
HOW = ["scaled by", "denoised by", "halved by", "epochs", "held out by"]
HEAD = [*WHAT, *VARIANTS, *HOW]

NOTES = """\
Accuracy on held-out training rows, mean ± deviation over {seeds} seeds, of which each holds out others where it
is by series or by scenes; the test rows are not touched. "None" only fills gaps (beijing_pm25 has some),
"denoise" adds a filter that fits the signal and its rate ("–" where no step does), and "half" leaves half the
rows, channels or pixels to the same model; windows last equally long in all. The model is one for all
(`d_model` 32, 2 layers) and not that of the jobs, with few epochs and no augmentation: the columns can be
compared with each other, and with nothing else. Held out are a quarter of each class's series (a series of
several classes counts for that of its first window); by time the last quarter of each piece of training rows,
0.4 of lawn_video's, without windows over the border; of fights one fold, whose scenes are in no other. What
counts are the weights of the epoch with the least loss on those rows, of fights those of the last one.
Preprocessing is fitted on all training rows, also those held out, without their labels. Of mitbih a tenth of
the beats is read, the same in all variants. lawn_video shows one event, of which both parts have some.
Differences below the deviation mean nothing, nor do those of a few windows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared/data", help="data of examples/shared")
    parser.add_argument("--only", help="these sets, separated by commas")
    parser.add_argument("--seeds", type=int, choices=range(1, 5), default=2, help="also as many folds")
    parser.add_argument("--epochs", type=int, help="instead of those of each set")
    parser.add_argument("--write", type=Path, help="put the table into this file")
    args = parser.parse_args()
    cases = [case for case in CASES if not args.only or case.name in args.only.split(",")]
    for case in cases:
        case.epochs = args.epochs or case.epochs
    started, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.edgectl.resolve(), args.shared.resolve(), Path(folder))
        missing = [case.name for case in cases if not bench.has(case)]
        cases = [case for case in cases if bench.has(case)]
        outcomes = {}
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            tasks = {
                (case.name, variant, seed): pool.submit(bench.run, case, variant, seed)
                for case in cases
                for variant in VARIANTS
                for seed in range(args.seeds)
            }
            for key, task in tasks.items():
                outcomes[key] = task.result()
                print(f"{time.monotonic() - started:5.0f} s", *key, outcomes[key], file=sys.stderr, flush=True)
    rows = [row(case, args.seeds, outcomes) for case in cases]
    lines = ["| " + " | ".join(cells) + " |" for cells in [HEAD, ["---"] * len(HEAD), *rows]]
    made = f"bench/preprocessing.py EDGECTL --seeds {args.seeds}" + (f" --only {args.only}" if args.only else "")
    made += f" --epochs {args.epochs}" if args.epochs else ""
    minutes = (time.monotonic() - started) / 60
    text = [
        "## What preprocessing does",
        "",
        f"Made by `python3 {made} --write BENCHMARKS.md`.",
        "",
        f"- CPU: {cpu()[0]}, {os.cpu_count()} cores; Python {platform.python_version()}, Linux {platform.release()}",
        f"- date: {datetime.date.today()}, {minutes:.0f} minutes, load average at the start {load:.2f}",
        *([f"- not on this machine: {', '.join(missing)}"] if missing else []),
        "",
        *lines,
        "",
        NOTES.format(seeds=args.seeds),
    ]
    print("\n".join(text))
    if args.write:
        write_section(args.write, "preprocessing", "\n".join(text))


if __name__ == "__main__":
    main()
