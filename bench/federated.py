"""Which defaults a federation learns best with: `federated.py EDGECTL [--write BENCHMARKS.md]`.

Jobs of `examples/` and `examples/shared/` whose data has nodes run as `edgectl simulate` with one option
changed after the other, and are measured on training rows that every node holds out; the best of each option is
kept for the next. The finalists run on all sets, beside one model on all nodes' rows under the same held-out
windows, and at the end once on the rows for the test. Sets whose data is not on the machine are left out. Needs
Python's standard library alone.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from statistics import mean

from markers import write_section
from preprocessing import CASES, ROOT, Case, read_job, toml

SETS = ["watch", "car_imu", "driver_events", "caviar", "urfall", "optdigits", "mnist14"]
SCREEN = ["car_imu", "driver_events", "urfall", "optdigits"]
ROUNDS = 20
MODEL = {"d_model": 32, "n_heads": 4, "n_layers": 2, "d_ff": 64, "dropout": 0.1}


def server(name: str, **options: object) -> dict:
    return {"federation": {"server": {"name": name, **options}}}


def train(**options: object) -> dict:
    return {"train": options}


def cosine(**options: float) -> dict:
    return train(schedule={"name": "cosine", **options})


# Each option with its values; the first is what it is before the search.
OF_FEDERATION = {"server", "proximal", "weights", "kept on nodes"}
OPTIONS: dict[str, dict[str, dict]] = {
    "server": {
        "replace": server("replace"),
        "momentum 0.5": server("sgd", momentum=0.5),
        "momentum 0.8": server("sgd", momentum=0.8),
        "momentum 0.8, nesterov": server("sgd", momentum=0.8, nesterov=True),
        "momentum 0.9": server("sgd", momentum=0.9),
        "adam 0.01": server("adam", lr=0.01),
        "yogi 0.01": server("yogi", lr=0.01),
    },
    "learning rate": {"1e-3": train(lr=1e-3), "2e-3": train(lr=2e-3), "4e-3": train(lr=4e-3)},
    "schedule": {
        "cosine over all rounds": cosine(warmup=0.05),
        "without warm-up": cosine(),
        "down to 0.1": cosine(warmup=0.05, min_ratio=0.1),
        "constant": train(schedule={"name": "constant"}),
        "cosine each round": train(schedule={"name": "cosine-restarts", "cycles": ROUNDS}),
    },
    "optimizer": {
        "adamw": train(optimizer={"name": "adamw", "weight_decay": 0.01}),
        "adamw, beta2 0.99": train(optimizer={"name": "adamw", "weight_decay": 0.01, "beta2": 0.99}),
        "sgd 0.9, lr 0.05": train(optimizer={"name": "sgd", "momentum": 0.9}, lr=0.05),
    },
    "proximal": {"0": {}, "0.01": train(proximal=0.01), "0.1": train(proximal=0.1)},
    "weights": {"examples": {}, "uniform": {"federation": {"weights": "uniform"}}},
    "kept on nodes": {"nothing": {}, "norms (FedBN)": {"federation": {"keep_local": ["*norm*"]}}},
    "scaled by": {
        "all rows": {},
        "rows of the node": {"scale": "node"},
        "all rows, then the window": {"scale": "window"},
    },
    "epochs a round": {"2": train(epochs=2), "1": train(epochs=1), "4": train(epochs=4)},
}


def merged(job: dict, change: dict) -> dict:
    job = deepcopy(job)
    for section, options in change.items():
        if section == "scale":
            scaled_by(job, options)
        else:
            job[section] = job.get(section, {}) | options
    return job


def scaled_by(job: dict, what: str) -> None:
    """The job's last step scales; it is fitted on other rows, or followed by a step of each window."""
    steps = job["preprocess"]
    if what == "node":
        steps[-1] = steps[-1] | {"fit": "node"}
    else:
        steps.append({"step": "window-normalize"})


def job_of(case: Case, job: dict, choice: dict[str, str]) -> dict:
    """A set's job with a value of each option."""
    own = {key: value for key, value in job.get("model", {}).items() if key == "patch_len"}
    plain = {
        "data": job["data"] | case.data,
        "window": job.get("window", {}) | case.window,
        "preprocess": job["preprocess"],
        "model": MODEL | own,
        "train": {"batch": 32, "label_smoothing": 0.1, "augment": {"jitter": 0.05, "scale": 0.1}},
        "federation": {"rounds": ROUNDS},
    }
    for option, value in choice.items():
        plain = merged(plain, OPTIONS[option][value])
    return plain


class Bench:
    """The command, the data, a folder for what is made, and what was measured."""

    def __init__(self, edgectl: Path, shared: Path, folder: Path, seeds: int, log: Path | None):
        self.edgectl, self.folder, self.seeds = edgectl, folder, seeds
        cases = [case for case in CASES if case.name in SETS]
        self.cases = {case.name: case for case in cases}
        self.jobs = {name: read_job(case, shared) for name, case in self.cases.items()}
        there = {name: Path(job["data"]["path"]).exists() for name, job in self.jobs.items()}
        self.missing = [name for name in SETS if not there[name]]
        self.found: dict[str, dict] = {}
        self.log = log
        if log and log.exists():
            for line in log.read_text().splitlines():
                self.found |= json.loads(line)
        if there["mnist14"]:
            self.ten_nodes(self.jobs["mnist14"])

    def names(self, of: list[str]) -> list[str]:
        return [name for name in of if name not in self.missing]

    def ten_nodes(self, job: dict) -> None:
        """Its training rows come to five nodes in turn; in ten they are as much alike, and fewer."""
        files = sorted(Path(job["data"]["path"]).glob("*.csv"))
        out = self.folder / "mnist14"
        out.mkdir()
        for path in files:
            with path.open() as source, (out / path.name).open("w") as target:
                rows = csv.DictReader(source)
                writer = csv.DictWriter(target, rows.fieldnames)
                writer.writeheader()
                number = 0
                for row in rows:
                    if row["split"] == "train":
                        row["node"] = number % 10
                        number += 1
                    writer.writerow(row)
        job["data"]["path"] = str(out)

    def run(self, name: str, choice: dict, seed: int, held_out: bool, together: bool) -> dict:
        """Accuracy and loss of the federation, and of one model on all rows, on held-out rows or the test's."""
        job = job_of(self.cases[name], self.jobs[name], choice)
        job["train"]["seed"] = seed
        if held_out:
            # Each seed holds out another part, which decides nothing within the run.
            job["train"]["validation"] = {"fraction": 0.25, "by": "auto", "fold": seed % 4, "keep": "last"}
        key = json.dumps([name, job["train"], choice, held_out, together])
        both = json.dumps([name, job["train"], choice, held_out, True])
        if both in self.found:
            return self.found[both]
        if key not in self.found:
            config = self.folder / "job.toml"
            config.write_text(toml(job))
            command = [self.edgectl, "simulate", "--config", config, "--out", self.folder / "run"]
            command += ["--json", "--quiet", "--threads=1"] + (["--centralised"] if together else [])
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(map(str, command))}\n{toml(job)}\n{done.stderr}")
            report = json.loads(done.stdout)
            ending = "_val" if held_out else ""
            found = {}
            for arm in ["final", "centralised"] if together else ["final"]:
                metrics = report[arm + ending]
                found[arm] = [metrics["accuracy"], metrics["loss"], metrics["n"]]
            self.found[key] = found
            if self.log:
                with self.log.open("a") as file:
                    file.write(json.dumps({key: found}) + "\n")
        return self.found[key]

    def accuracies(self, name: str, choice: dict, held_out: bool = True) -> list[float]:
        return [self.run(name, choice, seed, held_out, False)["final"][0] for seed in range(self.seeds)]

    def together(self, name: str, choice: dict, held_out: bool) -> list[float]:
        """One model on all nodes' rows, which depends on nothing that a federation does."""
        plain = {option: next(iter(OPTIONS[option])) for option in OF_FEDERATION}
        runs = [self.run(name, choice | plain, seed, held_out, True) for seed in range(self.seeds)]
        return [run["centralised"][0] for run in runs]


def search(bench: Bench, options: list[str], passes: int) -> tuple[dict[str, str], list[list[str]], dict[str, str]]:
    """The best value of one option after the other; a value is taken that gains over the sets."""
    names = bench.names(SCREEN)
    choice = {option: next(iter(values)) for option, values in OPTIONS.items()}
    before, rows = dict(choice), []
    for number in range(1, passes + 1):
        moved = False
        for option in options:
            values = OPTIONS[option]
            base = {name: bench.accuracies(name, choice) for name in names}
            best, most = choice[option], 0.0
            for value in values:
                found = {name: bench.accuracies(name, choice | {option: value}) for name in names}
                gains = {name: 100 * (mean(found[name]) - mean(base[name])) for name in names}
                gain, better = mean(gains.values()), sum(g > 0 for g in gains.values())
                cells = [f"{100 * mean(found[name]):.1f}" for name in names]
                rows.append([str(number), option, value, *cells, f"{gain:+.2f}"])
                print("|", " | ".join(rows[-1]), "|", flush=True)
                # More passes over the rows cost more, and are no better way to merge.
                if option != "epochs a round" and gain > max(most, 0.3) and better > len(names) / 2:
                    best, most = value, gain
            moved |= best != choice[option]
            choice[option] = best
        if not moved:
            break
    return before, rows, choice


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])


def said(choice: dict[str, str], before: dict[str, str]) -> str:
    changed = [f"{option} {value}" for option, value in choice.items() if value != before[option]]
    return ", ".join(changed) or "as before the search"


def compare(bench: Bench, sets: list[str], finalists: list[dict[str, str]], before: dict, held_out: bool) -> list[list[str]]:
    rows = []
    for name in bench.names(sets):
        for choice in finalists:
            together = bench.together(name, choice, held_out)
            own = bench.accuracies(name, choice, held_out)
            gaps = [100 * (one - other) for one, other in zip(own, together)]
            cells = [f"{100 * mean(own):.1f}", f"{100 * mean(together):.1f}", f"{mean(gaps):+.1f}"]
            rows.append([name, said(choice, before), *cells])
            print("|", " | ".join(rows[-1]), "|", flush=True)
    return rows


def of_defaults(bench: Bench, sets: list[str]) -> str:
    """What a federation comes to whose job names only [data], [window] and `patch_len`."""
    rows = []
    for name in bench.names(sets):
        job = bench.jobs[name]
        plain = {"data": job["data"] | bench.cases[name].data, "window": job.get("window", {})}
        plain["model"] = {key: value for key, value in job.get("model", {}).items() if key == "patch_len"}
        own, together, nodes = [], [], 0
        for seed in range(bench.seeds):
            config = bench.folder / "job.toml"
            config.write_text(toml(plain | {"train": {"seed": seed}}))
            command = [bench.edgectl, "simulate", "--config", config, "--out", bench.folder / "run", "--centralised"]
            command += ["--json", "--quiet", "--threads=1"]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            report = json.loads(done.stdout)
            nodes = len(report["nodes"])
            own.append(100 * report["final"]["accuracy"])
            together.append(100 * report["centralised"]["accuracy"])
        cells = [f"{mean(own):.1f}", f"{mean(together):.1f}", f"{mean(own) - mean(together):+.1f}"]
        rows.append([name, str(nodes), *cells])
        print("|", " | ".join(rows[-1]), "|", flush=True)
    head = ["data", "nodes", "federated", "one model", "points beside one model"]
    return f"""## What a federation reaches by default

Made by `bench/federated.py EDGECTL --defaults --write BENCHMARKS.md`.

Accuracy in per cent on the rows for the test, mean over {bench.seeds} seeds: `edgectl simulate --centralised` with
jobs that name only `[data]`, `[window]` and `patch_len`, so 20 rounds of 2 passes. The nodes of optdigits and mnist14
are ten alike parts of the rows, the others are people, drivers, places or sequences.

{table(head, rows)}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared/data", help="data of examples/shared")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--passes", type=int, default=2, help="over all options")
    parser.add_argument("--only", default=",".join(SETS), help="sets of the comparison, separated by commas")
    parser.add_argument("--options", default=",".join(OPTIONS), help="which to search, separated by commas")
    parser.add_argument("--defaults", action="store_true", help="only what a job reaches that says nothing of this")
    parser.add_argument("--log", type=Path, help="a file of runs: those in it are not made again")
    parser.add_argument("--write", type=Path, help="put the tables into this file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.edgectl.resolve(), args.shared.resolve(), Path(folder), args.seeds, args.log)
        if args.defaults:
            text = of_defaults(bench, args.only.split(","))
            if args.write:
                write_section(args.write, "federated-defaults", text)
            return
        before, rows, found = search(bench, args.options.split(","), args.passes)
        finalists = [before, found] if found != before else [before]
        held_out = compare(bench, args.only.split(","), finalists, before, held_out=True)
        test = compare(bench, args.only.split(","), finalists, before, held_out=False)
    names = bench.names(SCREEN)
    given = f" --seeds {args.seeds} --passes {args.passes}"
    given += f" --options {args.options}" if args.options != parser.get_default("options") else ""
    given += f" --only {args.only}" if args.only != parser.get_default("only") else ""
    searched = table(["pass", "option", "value", *names, "mean gain"], rows)
    head = ["data", "options", "federated", "one model", "points beside one model"]
    text = f"""## What a federation learns best with

Made by `bench/federated.py EDGECTL{given} --write BENCHMARKS.md`.

Accuracy in per cent on training rows that every node holds out (a quarter, another one for each seed, by series or
by time as the data allows, which decide nothing within a run), mean over {args.seeds} seeds, after {ROUNDS} rounds.
One option is changed after the other, from what the ones before it came to; a value is taken that gains most in the
mean over the sets, at least 0.3 points, and gains on more than half of them. More epochs a round are shown and not
taken: they are more passes over the rows, of one model as well. The model has `d_model` 32 and 2 layers.

{searched}

The finalists beside one model on all nodes' rows, with as many passes over them and the same windows held out:

{table(head, held_out)}

The same on the rows for the test, which chose nothing, of models trained on all training rows:

{table(head, test)}"""
    if bench.missing:
        text += f"\n\nNot on the machine: {', '.join(bench.missing)}."
    print(text)
    if args.write:
        write_section(args.write, "federated", text)


if __name__ == "__main__":
    sys.exit(main())
