"""How often the set of an answer holds the true class, at people that neither training nor calibration saw.

For each person a model that never saw them is calibrated on the others that it never saw, and `edgectl run` answers for
the person's recordings: without labels, and with the class of each window told behind its answer, so that the level of
sets follows. Prints the share of windows whose set holds the class, for each person and over all, and the size of
sets. Ends with 1 if over all people, with labels, it is further than a point from what was promised.

    python3 bench/coverage.py --binary target/release/edgectl
    python3 bench/coverage.py --models a.safetensors=01,03,05,07,09 b.safetensors=02,04,06,08,10
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
LEN, STRIDE = 100, 50
SPLITS = ("01,03,05,07,09", "02,04,06,08,10")


def lines(path, told):
    """Rows, and behind each window its class, where it has one; and these classes by window."""
    out, classes, series = [f"series,t,{','.join(CHANNELS)}\n"], [], {}
    with open(path) as file:
        for row in csv.DictReader(file):
            series.setdefault(row["series"], []).append(row)
    for name, rows in series.items():
        for t, row in enumerate(rows):
            out.append(f"{name},{t},{','.join(row[channel] for channel in CHANNELS)}\n")
            if t + 1 >= LEN and (t + 1 - LEN) % STRIDE == 0:
                labels = [row["label"] for row in rows[t + 1 - LEN:t + 1]]
                classes.append(max(sorted(set(labels)), key=labels.count))
                if told:
                    out.append(json.dumps({"label": classes[-1], "id": len(classes) - 1}) + "\n")
    return "".join(out), classes


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--binary", default="target/release/edgectl")
    parser.add_argument("--data", default="data/watch")
    parser.add_argument("--job", default="examples/watch.toml")
    parser.add_argument("--models", nargs="+", help="FILE=PEOPLE that it never saw, instead of new ones")
    parser.add_argument("--coverage", type=float, default=0.9)
    args = parser.parse_args()
    data = pathlib.Path(args.data)
    found = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = [given.rsplit("=", 1) for given in args.models or []]
        for number, people in enumerate(SPLITS if not models else []):
            out = folder / f"sim{number}"
            held_out = ",".join(f"subject_{name}" for name in people.split(","))
            subprocess.run([args.binary, "simulate", "--config", args.job, "--data", args.data, "--holdout", held_out,
                            "--out", out], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            models.append((out / "global.safetensors", people))
        for model, people in models:
            people = people.split(",")
            for name in people:
                others = [str(data / f"subject_{other}.csv") for other in people if other != name]
                calibrated = folder / "calibrated.safetensors"
                subprocess.run([args.binary, "calibrate", "--json", "--all", "--model", str(model), "--out", calibrated,
                                "--coverage", str(args.coverage), "--data", *others], check=True, capture_output=True)
                for told in (False, True):
                    text, classes = lines(data / f"subject_{name}.csv", told)
                    done = subprocess.run([args.binary, "run", "--json", "--model", calibrated, "--queue", "all"],
                                          input=text, text=True, capture_output=True, check=True)
                    answers = [json.loads(line) for line in done.stdout.splitlines()]
                    assert len(answers) == len(classes), (len(answers), len(classes))
                    holds = [classes[answer["id"]] in answer["set"] for answer in answers]
                    right = [classes[answer["id"]] == answer["answer"] for answer in answers]
                    size = sum(len(answer["set"]) for answer in answers) / len(answers)
                    found[told].append((sum(holds), len(holds)))
                    print(f"person {name}, {'labels told' if told else 'no labels  '}: right {sum(right) / len(right):.3f}, "
                          f"sets hold the class {sum(holds) / len(holds):.3f}, {size:.2f} classes", flush=True)
    shares = {}
    for told, counts in found.items():
        shares[told] = sum(n for n, _ in counts) / sum(of for _, of in counts)
        print(f"all people, {'labels told' if told else 'no labels'}: {shares[told]:.4f}, promised {args.coverage}")
    sys.exit(abs(shares[True] - args.coverage) > 0.01)


if __name__ == "__main__":
    main()
