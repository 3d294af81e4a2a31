"""What adapting regains after a change, and what it forgets: `edgectl adapt` on the watch data with injected shifts.

For each model (one of each seed, trained on all ten people), person and shift: the accuracy on that person's test rows,
shifted and as they were, before, and after adapting with all labels of the shifted training rows, with two labelled
windows of each class, and without any label, where nothing is adapted. Beside, with --peers: adapting without the replay,
and `edgectl train --init` with a constant rate, each with all labels.

Settings of `adapt` were chosen on persons 2, 4, 6, 8 and 10; 1, 3 and 9 are those of which something must hold: with all
labels the accuracy on shifted rows is at most 3 points below that on rows as they were, within 60 s, and the latter goes
down by 2 points at most, in each case; with two windows a class the mean on shifted rows is at least 0.80. Ends with 1
unless that is so. One test window of these persons is 1.9, 5.0 and 2.4 points.

    python3 bench/adapt.py --data data/watch --work /tmp/adapt --seeds 3 [--peers]
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

from shifts import SHIFTS, few, read, shifted, write

MUST_HOLD = (1, 3, 9)


class Edgectl:
    def __init__(self, binary):
        self.binary = binary

    def __call__(self, *command):
        done = subprocess.run([self.binary, "--json", "--threads", "1", *map(str, command)], capture_output=True, text=True)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr.strip()


def models(edgectl, args, work):
    """A model of each seed, trained once."""
    if args.model:
        return {"given": args.model}
    found = {}
    for seed in range(args.seeds):
        folder = work / f"seed-{seed}"
        found[seed] = folder / "global.safetensors"
        if not found[seed].exists():
            said = edgectl("simulate", "--config", args.job, "--data", args.data, "--seed", seed, "--out", folder)
            if not isinstance(said, dict):
                sys.exit(said)
    return found


def constant(job, work):
    """The job with the rate of `adapt` in every step, and as many steps, for `train --init`."""
    lines = pathlib.Path(job).read_text().splitlines()
    new = {"schedule": 'schedule = { name = "constant" }', "lr": "lr = 1e-3", "epochs": "epochs = 50"}
    path = work / "constant.toml"
    path.write_text("\n".join(new.get(line.split(" = ")[0], line) for line in lines) + "\n")
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/edgectl")
    parser.add_argument("--data", default="data/watch")
    parser.add_argument("--job", default="examples/watch.toml")
    parser.add_argument("--model", help="a model, in place of those of --seeds")
    parser.add_argument("--work", default="runs/adapt", help="where trained models are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--persons", default="1,3,9,2,4,5,6,7,8,10")
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--flags", default="", help="more flags of adapt")
    args = parser.parse_args()
    edgectl, work = Edgectl(args.binary), pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    flags = args.flags.split()
    cases, good = [], True

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        new = folder / "new.safetensors"

        def accuracy(model, path):
            return edgectl("eval", "--model", model, "--data", path)["accuracy"]

        for seed, model in models(edgectl, args, work).items():
            for person in map(int, args.persons.split(",")):
                rows = read(args.data, person)
                training = [row for row in rows if row["split"] == "train"]
                testing = [row for row in rows if row["split"] == "test"]
                clean_test = write(folder / "clean-test.csv", testing)
                clean = write(folder / "clean.csv", training)
                for name, shift in SHIFTS.items():
                    test = write(folder / "test.csv", shifted(testing, shift))
                    now = write(folder / "now.csv", shifted(training, shift))
                    some = write(folder / "some.csv", shifted(few(training, 2), shift))
                    before = accuracy(model, test), accuracy(model, clean_test)
                    adapt = ("adapt", "--model", model, "--out", new, *flags)
                    ways = {
                        "all labels": (*adapt, "--data", now, "--replay", clean),
                        "two a class": (*adapt, "--data", some, "--replay", clean),
                    }
                    if args.peers:
                        ways["no replay"] = (*adapt, "--data", now)
                        ways["train --init"] = ("train", "--init", model, "--data", now, "--out", new, "--config",
                                                constant(args.job, folder))
                    for what, command in {"no labels": None, **ways}.items():
                        began = time.perf_counter()
                        said = edgectl(*command) if command else {}
                        seconds = time.perf_counter() - began
                        is_new = new.exists()
                        after = (accuracy(new, test), accuracy(new, clean_test)) if is_new else before
                        new.unlink(missing_ok=True)
                        case = {"seed": seed, "person": person, "shift": name, "what": what, "before": before,
                                "after": after, "seconds": round(seconds, 1), "adapted": is_new}
                        case["holds"] = (after[0] >= before[1] - 0.03 - 1e-9 and after[1] >= before[1] - 0.02 - 1e-9
                                         and seconds <= 60)
                        if not is_new and command:
                            case["said"] = said
                        elif "fresh" in said:
                            case["gate"] = {of: said[of] for of in ("clean_before", "clean", "fresh_before", "fresh")}
                        cases.append(case)
                        print(json.dumps(case), flush=True)

    def mean(of, get):
        return sum(map(get, of)) / len(of) if of else float("nan")

    print("people | what | shifted before | after | clean before | after | within 3 and 2 points | not adapted")
    print("--- | --- | ---: | ---: | ---: | ---: | ---: | ---:")
    for people, is_in in (("1, 3, 9", lambda case: case["person"] in MUST_HOLD),
                          ("others", lambda case: case["person"] not in MUST_HOLD)):
        for what in dict.fromkeys(case["what"] for case in cases):
            of = [case for case in cases if is_in(case) and case["what"] == what]
            if not of:
                continue
            figures = [mean(of, lambda case: case[when][i]) for i in (0, 1) for when in ("before", "after")]
            holds = sum(case["holds"] for case in of)
            idle = sum(not case["adapted"] for case in of)
            print(f"{people} | {what} | " + " | ".join(f"{x:.3f}" for x in figures) + f" | {holds} of {len(of)} | {idle}")
            if people == "1, 3, 9":
                good &= what != "all labels" or holds == len(of)
                good &= what != "two a class" or figures[1] >= 0.8
    by_seed = {seed: round(mean([c for c in cases if c["seed"] == seed and c["what"] == "all labels"],
                                lambda case: case["after"][0]), 4) for seed in dict.fromkeys(c["seed"] for c in cases)}
    slowest = max(case["seconds"] for case in cases)
    print(json.dumps({"all_labels_by_seed": by_seed, "slowest_s": slowest, "holds": good}))
    sys.exit(not good)


if __name__ == "__main__":
    main()
