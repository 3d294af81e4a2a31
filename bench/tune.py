"""What `edgectl tune` gains over the default job: `tune.py EDGECTL [--budget 10m] [--write BENCHMARKS.md]`.

For every classification job of `examples/` and `examples/shared/` the default job (see `accuracy.py`) is tuned on
its training rows within the budget; then both jobs are trained with the same seeds and measured on the rows for the
test, which the search never sees. Needs what `accuracy.py` does.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean

from accuracy import SETS, Bench, default_job, interval
from machine import cpu
from markers import write_section
from preprocessing import CASES, ROOT, read_job, toml


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared/data", help="data of examples/shared")
    parser.add_argument("--only", help="these sets, separated by commas")
    parser.add_argument("--budget", default="10m")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--write", type=Path, help="put the table into this file")
    args = parser.parse_args()
    head = ["data", "trials", "models", "changed", "default", "tuned", "points", "s"]
    rows, load = [head, ["---"] * len(head)], os.getloadavg()[0]
    wanted = args.only.split(",") if args.only else list(SETS)
    cases = sorted((c for c in CASES if c.name in wanted), key=lambda c: wanted.index(c.name))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args.edgectl.resolve(), args.shared.resolve(), Path(folder))
        for case in cases:
            job = default_job(case, read_job(case, bench.shared))
            if not Path(job["data"]["path"]).exists():
                continue
            config, best = Path(folder) / f"{case.name}.toml", Path(folder) / f"{case.name}-best.toml"
            config.write_text(toml(job))
            began = time.monotonic()
            command = [bench.edgectl, "tune", "--config", config, "--out", best, "--json", "--quiet"]
            command += ["--budget", args.budget, "--trials", str(args.trials), "--threads", str(args.threads)]
            found = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.monotonic() - began
            if found.returncode:
                raise RuntimeError(found.stderr)
            found = json.loads(found.stdout)
            changed = ", ".join(f"{c['name']} {c['to']}" for c in found["choices"]) or "nothing"
            tuned = tomllib.loads(best.read_text())
            tuned["data"]["path"] = job["data"]["path"]
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                jobs = {"default": flat(job), "tuned": flat(tuned)}
                tasks = {
                    (name, seed): pool.submit(bench.of_job, case, jobs[name], name, seed)
                    for seed in range(args.seeds)
                    for name in (jobs if found["choices"] else ["default"])
                }
                outcomes = {key: task.result()[0] for key, task in tasks.items()}
            default = [outcomes["default", seed] for seed in range(args.seeds)]
            own = [outcomes.get(("tuned", seed), outcomes["default", seed]) for seed in range(args.seeds)]
            gains = [100 * (b - a) for a, b in zip(default, own)]
            points = f"{mean(gains):+.2f} ± {interval(gains):.2f}"
            cells = [case.name, str(found["trials"]), str(found["trainings"]), changed]
            cells += [f"{mean(default):.4f}", f"{mean(own):.4f}", points, f"{seconds:.0f}"]
            rows.append(cells)
            print("|", " | ".join(cells), "|", flush=True)
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in rows)
    note = "## What tune gains\n\nMade by `bench/tune.py EDGECTL --write BENCHMARKS.md`.\n\n"
    note += (
        f"The default job and what `edgectl tune --budget {args.budget} --trials {args.trials}` makes of it on "
        f"{args.threads} threads, on the rows for the test: mean accuracy over {args.seeds} seeds and the mean paired "
        f"difference with half its 95 % interval. {cpu()[0]}, load {load:.1f} at the start."
    )
    if args.write:
        write_section(args.write, "tune", f"{note}\n\n{table}")


def flat(job: dict) -> dict:
    """A job as `toml` writes it: sections that are tables or lists of tables."""
    return {key: value for key, value in job.items() if isinstance(value, dict) or value}


if __name__ == "__main__":
    main()
