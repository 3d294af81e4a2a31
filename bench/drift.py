"""How soon `edgectl run` finds that a sensor says something else, and how often it says so without reason.

Trains a model on half of the ten people of data/watch (or takes one with --model), calibrates it four at a time on the
people that it never saw, and lets it answer for the fifth: series drawn at random, for false alarms, and 400 windows
as they are with 300 behind a change. Delays count windows that share no row, from the change to the first event that
names quality, a notice or an alarm; beside them stand those of an alarm every 100 windows, and of none.

    python3 bench/drift.py --binary target/release/edgectl
    python3 bench/drift.py --model global.safetensors --streams 2 --false-windows 1000     # short
"""

import argparse
import csv
import json
import math
import pathlib
import random
import subprocess
import tempfile

CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
HELD_OUT = ("01", "03", "05", "07", "09")
LEN, STRIDE = 100, 50
REFIT, CLEAN, CHANGED = 200, 200, 300

# What the change is to be found within: median and 90 % of the delays.
LIMITS = {
    "mirror": (15, 40), "turn 90": (15, 40), "tilt 30": (15, 40), "tilt 45": (15, 40), "noise 1": (15, 40),
    "gyro stuck": (15, 40), "gain 0.5": (30, 80), "ax stuck": (2, 2),
}
HARMLESS = ("noise 0.3", "half rate", "+0.3 g")


def tilted(rows, degrees):
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turn = lambda x, y, z: (cos * x + sin * z, y, cos * z - sin * x)
    return [(*turn(*row[:3]), *turn(*row[3:])) for row in rows]


def noisy(rows, share, deviations, rng):
    return [tuple(x + rng.gauss(0, share * d) for x, d in zip(row, deviations)) for row in rows]


def shifts(deviations):
    """Names, and what each does with the rows of a series."""
    rng = random.Random(1)
    return {
        "none": lambda rows: rows,
        "mirror": lambda rows: [(a, -b, c, -d, e, -f) for a, b, c, d, e, f in rows],
        "turn 90": lambda rows: tilted(rows, 90),
        "tilt 15": lambda rows: tilted(rows, 15),
        "tilt 30": lambda rows: tilted(rows, 30),
        "tilt 45": lambda rows: tilted(rows, 45),
        "gain 0.5": lambda rows: [tuple(0.5 * x for x in row) for row in rows],
        "gain 1.3": lambda rows: [tuple(1.3 * x for x in row) for row in rows],
        "gyro stuck": lambda rows: [(*row[:3], *rows[0][3:]) for row in rows],
        "ax stuck": lambda rows: [(rows[0][0], *row[1:]) for row in rows],
        "noise 1": lambda rows: noisy(rows, 1.0, deviations, rng),
        "noise 0.3": lambda rows: noisy(rows, 0.3, deviations, rng),
        "half rate": lambda rows: [rows[i - i % 2] for i in range(len(rows))],
        "+0.3 g": lambda rows: [(row[0] + 0.3, *row[1:]) for row in rows],
    }


def read(path):
    """The rows of each series."""
    series = {}
    with open(path) as file:
        for row in csv.DictReader(file):
            series.setdefault(row["series"], []).append(tuple(float(row[name]) for name in CHANNELS))
    return list(series.values())


def deviations(people):
    rows = [row for series in people.values() for rows in series for row in rows]
    means = [sum(column) / len(rows) for column in zip(*rows)]
    return [math.sqrt(sum((x - m) ** 2 for x in column) / len(rows)) for column, m in zip(zip(*rows), means)]


def lines(rows):
    return [f",{t},{','.join(f'{x:.4f}' for x in row)}\n" for t, row in enumerate(rows)]


class Stream:
    """Series one after the other, and which window is the how many-th that shares no row."""

    def __init__(self):
        self.text = [f"series,t,{','.join(CHANNELS)}\n"]
        self.fresh, self.n, self.ids, self.blocks = {}, 0, 0, 0

    def add(self, tails):
        self.blocks += 1
        name = str(self.blocks)
        self.text.extend(name + tail for tail in tails)
        for start in range(0, len(tails) - LEN + 1, STRIDE):
            self.n += start % LEN == 0
            self.fresh[self.ids] = self.n
            self.ids += 1

    def until(self, series, windows, rng):
        while self.n < windows:
            self.add(rng.choice(series))

    def run(self, binary, model, refit):
        command = [binary, "run", "--json", "--model", model, "--queue", "all", "--refit", str(refit)]
        done = subprocess.run(command, input="".join(self.text), text=True, capture_output=True, check=True)
        events = [json.loads(line) for line in done.stderr.splitlines()]
        assert events[-1]["event"] == "summary" and events[-1]["due"] == self.ids, events[-1]
        found = []
        for event in events:
            if event["event"] == "drift":
                found.append((self.fresh[event["window"]], event["level"]))
            elif event["event"] == "quality":
                found.append((self.fresh[event["window"]], "quality"))
        return found


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, max(0, math.ceil(share * len(values)) - 1))]


def most_expected(n):
    """The largest mean of a Poisson number that is at most n with 5 %."""
    low, high = 0.0, 10.0 + 3 * n
    for _ in range(60):
        mean = (low + high) / 2
        term = total = math.exp(-mean)
        for i in range(1, n + 1):
            term *= mean / i
            total += term
        low, high = (mean, high) if total > 0.05 else (low, mean)
    return low


def shown(delay):
    return "never" if delay is None or delay > CHANGED else str(delay)


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--binary", default="target/release/edgectl")
    parser.add_argument("--data", default="data/watch")
    parser.add_argument("--job", default="examples/watch.toml")
    parser.add_argument("--held-out", default=",".join(HELD_OUT), help="people that the model never saw")
    parser.add_argument("--model", help="a model that never saw them, instead of a new one")
    parser.add_argument("--arl0", type=float, default=1000)
    parser.add_argument("--streams", type=int, default=12, help="streams of each person and change")
    parser.add_argument("--false-windows", type=int, default=20000, help="windows without a change, over all people")
    parser.add_argument("--refit", type=int, default=REFIT)
    parser.add_argument("--only", help="changes to try, with commas between")
    args = parser.parse_args()

    data = pathlib.Path(args.data)
    names = args.held_out.split(",")
    people = {name: read(data / f"subject_{name}.csv") for name in names}
    all_shifts = shifts(deviations(people))
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = args.model
        if model is None:
            out = folder / "sim"
            held_out = ",".join(f"subject_{name}" for name in names)
            command = [args.binary, "simulate", "--config", args.job, "--data", args.data, "--holdout", held_out,
                       "--out", str(out), "--threads", "1"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            model = out / "global.safetensors"
        models = {}
        for name in names:
            models[name] = str(folder / f"{name}.safetensors")
            others = [str(data / f"subject_{other}.csv") for other in names if other != name]
            command = [args.binary, "calibrate", "--json", "--all", "--model", str(model), "--out", models[name],
                       "--arl0", str(args.arl0), "--data", *others]
            said = json.loads(subprocess.run(command, check=True, text=True, capture_output=True).stdout)
            print(f"person {name}: calibrated on {said['windows']} windows, one false alarm in {said['arl0']:.0f} "
                  f"(at least {said['arl0_lower']:.0f})")

        rng = random.Random(0)
        windows = alarms = acts = 0
        for name in names:
            tails = [lines(rows) for rows in people[name]]
            own_windows = own_alarms = 0
            # Streams of a few thousand windows, as a run that begins anew.
            while own_windows < args.false_windows / len(names):
                stream = Stream()
                stream.until(tails, min(4000, args.false_windows // len(names)), rng)
                found = [event for event in stream.run(args.binary, models[name], args.refit) if event[1] != "quality"]
                last = -math.inf
                for window, level in found:
                    # Several detectors that find the same are one alarm.
                    own_alarms += window - last > 30
                    last = window
                    acts += level == "alarm"
                own_windows += stream.n
            windows, alarms = windows + own_windows, alarms + own_alarms
            print(f"person {name}: {own_alarms} false alarms in {own_windows} windows")
        bound = windows / most_expected(alarms)
        print(f"ARL0 {windows / max(alarms, 1):.0f} windows (95 %: at least {bound:.0f}); of {windows} windows "
              f"{alarms} gave one; {acts} were no notice")

        print("change | median, p90 of the delay to any event | to an alarm | never found | to hold")
        wanted = args.only.split(",") if args.only else [name for name in all_shifts if name != "none"]
        for change in wanted:
            any_delays, act_delays = [], []
            length = 1000 if change in HARMLESS else CHANGED
            for name in names:
                clean = [lines(rows) for rows in people[name]]
                changed = [lines(all_shifts[change](rows)) for rows in people[name]]
                for _ in range(args.streams):
                    stream = Stream()
                    stream.until(clean, args.refit + CLEAN, rng)
                    begin = stream.n
                    stream.until(changed, begin + length, rng)
                    found = [e for e in stream.run(args.binary, models[name], args.refit) if e[0] > begin]
                    first = lambda of: min((w - begin for w, level in of), default=math.inf)
                    any_delays.append(first(found))
                    act_delays.append(first([e for e in found if e[1] == "alarm"]))
            pair = lambda delays: tuple(quantile(delays, share) for share in (0.5, 0.9))
            never = sum(delay > length for delay in any_delays)
            limit = LIMITS.get(change)
            holds = ""
            if limit:
                is_so = all(found <= most for found, most in zip(pair(any_delays), limit))
                holds = f"{limit[0]}, {limit[1]}: {'holds' if is_so else 'DOES NOT HOLD'}"
            elif change in HARMLESS:
                acted = sum(delay <= length for delay in act_delays)
                holds = f"an alarm in {acted} of {len(act_delays)} streams of {length} windows"
            print(f"{change} | {', '.join(map(shown, pair(any_delays)))} | {', '.join(map(shown, pair(act_delays)))} | "
                  f"{never} of {len(any_delays)} | {holds}", flush=True)
        print("an alarm every 100 windows | 50, 90 | 50, 90 | 0 | ARL0 100")
        print("no alarm ever | never, never | never, never | all | ARL0 without end")


if __name__ == "__main__":
    main()
