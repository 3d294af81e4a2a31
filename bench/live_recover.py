"""A change, and what a run does about it: `edgectl run` with `[adapt] when = "drift"` on the watch data, live.

For each person and change: windows as they were, then windows under the change for so long (--limit) from the first
alarm on; then the person's test rows under the change, and as they were, both without labels. Until the test rows come, classes come back some windows late: of all windows, of the first two of each class
under the change, or of none (--labels). Rows of a recording are played again and again, cut at other places each time.

Prints for each case the accuracy on test rows before (`edgectl eval` of the model) and after (the run's own answers),
the windows until the first alarm, seconds from that until an adapted model answers and until its trial is over, and
whether all windows were answered, and the model changed only where the run told so. Ends with 1 unless, with all labels, the accuracy under
the change is within 3 points of before, clean accuracy is at most 2 points lower, and the adapted model answers within
60 s of the first alarm, each; with two a class the mean under the change is at least 0.80; without, nothing changes.

    python3 bench/live_recover.py --model watched.safetensors --data data/watch --labels all
"""

import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

from shifts import CHANNELS, SHIFTS, STRIDE, WINDOW, read, shifted, write


class Run:
    """A run that is fed window by window, and what it has said."""

    def __init__(self, args, folder, clean):
        self.args, self.state, self.n_events = args, folder / "state", 0
        config = folder / "live.toml"
        config.write_text(f'[adapt]\nwhen = "drift"\nclean = ["{clean}"]\nsteps = {args.steps}\ncpu = 1.0\n')
        command = [args.binary, "run", "--json", "--config", config, "--model", args.model, "--state", self.state,
                   "--queue", "all", "--gap", "off", "--silence", "off", "--watch", "100ms", "--refit", str(args.refit),
                   "--shadow", str(args.shadow)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.answers, self.events, self.truths, self.labels = {}, [], {}, collections.deque()
        self.n, self.n_series, self.next, self.rate = 0, 0, time.perf_counter() + 0.5, 100
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            self.answers[answer["id"]] = answer

    def look(self):
        path = self.state / "events.jsonl"
        if path.exists():
            lines = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            new = [json.loads(line) for line in lines[self.n_events:]]
            self.events += [{**event, "seen": time.perf_counter(), "fed": self.n} for event in new]
            self.n_events = len(lines)

    def play(self, rows, gives_label, until=lambda: False):
        """One series after the other; labels of windows that `gives_label` chooses follow late. Stops once `until`."""
        for series, label, of_series in rows:
            name = f"{series}-{self.n_series}"
            self.n_series += 1
            lines = []
            for t, row in enumerate(of_series):
                lines.append(json.dumps({"t": t, "series": name, **{c: row[c] for c in CHANNELS}}))
                if t + 1 >= WINDOW and (t + 1 - WINDOW) % STRIDE == 0:
                    self.truths[self.n] = label
                    self.labels.append((self.n, label if gives_label(label) else None))
                    self.n += 1
                    while self.labels and self.labels[0][0] <= self.n - self.args.delay:
                        window, known = self.labels.popleft()
                        if known:
                            lines.append(json.dumps({"label": known, "id": window}))
                    while (left := self.next - time.perf_counter()) > 0:
                        time.sleep(left)
                    self.next = max(self.next + 1 / self.rate, time.perf_counter() - 1)
                    self.process.stdin.write("\n".join(lines) + "\n")
                    self.process.stdin.flush()
                    lines = []
                    self.look()
                    if until():
                        return True
        return until()

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.reader.join()
        self.look()

    def accuracy(self, first, last):
        right = [self.answers[i]["answer"] == self.truths[i] for i in range(first, last)]
        return sum(right) / len(right)

    def first(self, since, is_it):
        return next((event for event in self.events[since:] if is_it(event)), None)


def series_of(rows, rng=None):
    """Series with their class; with `rng` in any order, and from any of the first rows on."""
    found = {}
    for row in rows:
        found.setdefault(row["series"], []).append(row)
    found = [(name, of[0]["label"], of[rng.randrange(STRIDE):] if rng else of) for name, of in found.items()]
    if rng:
        rng.shuffle(found)
    return found


def one_after_the_other(answers):
    """The models that answered, each once unless it was gone back to."""
    models = [answer["model"] for _, answer in sorted(answers.items()) if answer["model"]]
    return [model for i, model in enumerate(models) if i == 0 or models[i - 1] != model]


def case(args, folder, person, name):
    rng = random.Random(person)
    rows = read(args.data, person)
    training = [row for row in rows if row["split"] == "train"]
    testing = [row for row in rows if row["split"] == "test"]
    change = SHIFTS[name]

    def evaluate(rows):
        path = write(folder / "rows.csv", rows)
        done = subprocess.run([args.binary, "--json", "eval", "--model", args.model, "--data", path],
                              capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["accuracy"]

    before = evaluate(shifted(testing, change)), evaluate(testing)
    run = Run(args, folder, write(folder / "clean.csv", training))
    start = run.n + args.clean
    while run.n < start:
        run.play(series_of(training, rng), lambda _: args.labels == "all", lambda: run.n >= start)
    run.rate = args.rate
    since, begin, began = len(run.events), run.n, time.perf_counter()
    given = collections.Counter()

    def gives_label(label):
        given[label] += 1
        return args.labels == "all" or args.labels == "two" and given[label] <= 2 * args.every and given[label] % args.every == 0

    is_alarm = lambda event: event["event"] == "drift" and event["level"] == "alarm"
    reload = lambda what: lambda event: event["event"] == "reload" and event["result"] == what
    changed = shifted(training, change)

    def is_over():
        alarm = run.first(since, is_alarm)
        return time.perf_counter() - (alarm["seen"] if alarm else began) > args.limit

    while not run.play(series_of(changed, rng), gives_label, is_over):
        pass
    under = run.n
    # No label comes any more.
    run.labels.clear()
    run.rate = 100
    test = run.n
    run.play(series_of(shifted(testing, change)), lambda _: False)
    middle = run.n
    run.play(series_of(testing), lambda _: False)
    run.end()
    alarm, answers, live = (run.first(since, of) for of in (is_alarm, reload("canary"), reload("live")))
    after = run.accuracy(test, middle), run.accuracy(middle, run.n)
    seconds = lambda event: round(event["seen"] - alarm["seen"], 1) if alarm and event else None
    models = one_after_the_other(run.answers)
    if args.events:
        for event in run.events:
            print(event, file=sys.stderr)
    told = collections.Counter(f"{e['event']} {e.get('result', e.get('signal', ''))}".strip() for e in run.events[since:])
    found = {
        "person": person, "shift": name, "labels": args.labels, "before": before, "after": after,
        "under_the_change": round(run.accuracy(begin, under), 3), "windows_to_alarm": alarm["fed"] - begin if alarm else None,
        "answers_after_s": seconds(answers or live), "live_after_s": seconds(live), "windows": run.n,
        "all_answered": len(run.answers) == run.n, "models": len(models), "events": dict(told),
    }
    handed_over = sum(event["event"] in ("promote", "rollback") for event in run.events)
    found["one_at_a_time"] = len(models) - 1 == handed_over
    good = found["all_answered"] and found["one_at_a_time"]
    if args.labels == "all":
        took = found["answers_after_s"]
        good &= took is not None and took <= 60 and after[0] >= before[1] - 0.03 - 1e-9 and after[1] >= before[1] - 0.02 - 1e-9
    elif args.labels == "none":
        good &= len(models) == 1 and after[0] >= before[0] - 0.01 and after[1] >= before[1] - 0.01
    return {**found, "holds": good}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/edgectl")
    parser.add_argument("--model", required=True, help="a calibrated model")
    parser.add_argument("--data", default="data/watch")
    parser.add_argument("--persons", default="1,3,9")
    parser.add_argument("--shifts", default="mirror,tilt30")
    parser.add_argument("--labels", choices=("all", "two", "none"), default="all")
    parser.add_argument("--every", type=int, default=4, help="of two labels a class: one of so many windows")
    parser.add_argument("--delay", type=int, default=20, help="windows after which a label comes")
    parser.add_argument("--rate", type=float, default=10, help="windows a second under the change")
    parser.add_argument("--clean", type=int, default=660, help="windows before the change")
    parser.add_argument("--limit", type=float, default=60, help="seconds from the first alarm on")
    parser.add_argument("--refit", type=int, default=300)
    parser.add_argument("--shadow", type=int, default=100)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--events", action="store_true", help="also print the run's events, on stderr")
    args = parser.parse_args()
    found = []
    for person in map(int, args.persons.split(",")):
        for name in args.shifts.split(","):
            with tempfile.TemporaryDirectory() as folder:
                found.append(case(args, pathlib.Path(folder), person, name))
            print(json.dumps(found[-1]), flush=True)
    mean = lambda when, i: round(sum(case[when][i] for case in found) / len(found), 4)
    good = all(case["holds"] for case in found) and (args.labels != "two" or mean("after", 0) >= 0.8)
    print(json.dumps({"shifted": [mean("before", 0), mean("after", 0)], "clean": [mean("before", 1), mean("after", 1)],
                      "cases_that_hold": sum(case["holds"] for case in found), "holds": good}))
    sys.exit(not good)


if __name__ == "__main__":
    main()
