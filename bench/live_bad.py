"""What `edgectl run --state` does with models that are sound and wrong: valid files whose head was permuted.

Each is put in the place of `--model` while rows come. By itself it must give no answer. Forced live by `edgectl
promote`, it must be taken back within 30 windows whose labels come back, or 100 without; and after a restart it must
stay away. A copy of the model of another round must become live. Prints how many answers each gave.

    python3 bench/live_bad.py --model global.safetensors --data data/watch/subject_01.csv data/watch/subject_02.csv
"""

import argparse
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import time

from live_common import add_arguments, begin, feed, line_of, read_table, with_round


def permuted(model, to, number, order):
    """Writes a copy whose classes are those of other outputs, of another round."""
    with_round(model, to, number)
    whole = bytearray(to.read_bytes())
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8:8 + length])
    for name in ("head.weight", "head.bias"):
        begin, end = (8 + length + at for at in header[name]["data_offsets"])
        n = header[name]["shape"][0]
        row = (end - begin) // n
        rows = [whole[begin + i * row:begin + (i + 1) * row] for i in range(n)]
        whole[begin:end] = b"".join(rows[i] for i in order(n))
    new = to.with_suffix(".new")
    new.write_bytes(whole)
    new.rename(to)


class Run:
    """A run on a folder of state, fed window after window."""

    def __init__(self, args, live, state, windows):
        command = [args.binary, "run", "--json", "--model", str(live), "--state", str(state), "--queue", "all",
                   "--watch", "5ms", "--shadow", str(args.shadow)]
        self.windows, self.state = windows, state
        self.known = len(self.events())
        self.process = begin(command)
        self.answers = []
        self.reader = threading.Thread(target=lambda: self.answers.extend(map(json.loads, self.process.stdout)))
        self.reader.start()
        self.at = 0
        self.feed(2)

    def feed(self, n, labels=False):
        """So many windows, one each 10 ms; each label comes back after its window."""
        for _ in range(n):
            lines, label = self.windows[self.at % len(self.windows)]
            feed(self.process, lines)
            time.sleep(0.01)
            if labels and self.answers:
                line = json.dumps({"label": label, "id": self.answers[-1]["id"]})
                feed(self.process, f"{line}\n")
            self.at += 1

    def events(self):
        log = self.state / "events.jsonl"
        text = log.read_text() if log.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line]

    def until(self, kind, labels=False, most=2000, **values):
        """Feeds until there is such an event, behind the last one that was found; how many windows that took."""
        for fed in range(most):
            for at, event in enumerate(self.events()[self.known:], self.known):
                if event["event"] == kind and values.items() <= event.items():
                    self.known = at + 1
                    return event, fed
            self.feed(1, labels)
        sys.exit(f"no event {kind} {values} within {most} windows")

    def end(self):
        self.process.stdin.close()
        self.reader.join()
        self.process.wait()
        return self.answers


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--data", required=True, nargs="+")
    parser.add_argument("--len", type=int, default=100, help="rows of a window")
    parser.add_argument("--shadow", type=int, default=100)
    args = parser.parse_args()

    # Rows of windows that share none, each of one series and so of one label.
    windows, t = [], 0
    for data in args.data:
        table = read_table(data)
        for first in range(0, len(table) - args.len, args.len):
            rows = table[first:first + args.len]
            if len({row["series"] for row in rows}) > 1:
                continue
            lines = "".join(line_of(t + i, row) for i, row in enumerate(rows))
            t += len(rows)
            windows.append((lines, rows[0]["label"]))

    orders = {
        "all classes permuted": lambda n: [(i + 1) % n for i in range(n)],
        "two classes swapped": lambda n: [1, 0, *range(2, n)],
    }
    report = {}
    for name, order in orders.items():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            live, state = folder / "live.safetensors", folder / "state"
            with_round(args.model, live, 1)
            run = Run(args, live, state, windows)
            permuted(args.model, live, 2, order)
            event, fed = run.until("reload", result="refused")
            by_itself = sum(answer["model"] == event["model"] for answer in run.end())
            found = {"by itself": by_itself, "refused after": fed, "reason": event["reason"]}
            for labels in (True, False):
                state = folder / f"state-{labels}"
                with_round(args.model, live, 1)
                run = Run(args, live, state, windows)
                permuted(args.model, live, 2, order)
                run.until("reload", result="checked")
                run.feed(3)
                subprocess.run([args.binary, "promote", str(state)], check=True, stdout=subprocess.DEVNULL)
                event, _ = run.until("rollback", labels)
                run.feed(3)
                answers = run.end()
                given = sum(answer["model"] == event["model"] for answer in answers)
                assert answers[-1]["model"] == event["to"], answers[-1]
                again = Run(args, live, state, windows)
                again.until("reload", result="refused")
                again.feed(20)
                assert all(answer["model"] == event["to"] for answer in again.end())
                found["forced, labels" if labels else "forced, no labels"] = given
            report[name] = found
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        live = folder / "live.safetensors"
        with_round(args.model, live, 1)
        run = Run(args, live, folder / "state", windows)
        with_round(args.model, live, 2)
        _, shadow = run.until("promote")
        _, canary = run.until("reload", result="live")
        run.end()
        report["a good one"] = {"windows in the shadow": shadow, "as the canary": canary}
    print(json.dumps(report, indent=2))
    bad = [name for name, found in report.items() if found.get("by itself", 0) > 0]
    bad += [name for name, found in report.items() if found.get("forced, labels", 0) > 30]
    bad += [name for name, found in report.items() if found.get("forced, no labels", 0) > 100]
    sys.exit(f"too many answers: {bad}" if bad else 0)


if __name__ == "__main__":
    main()
