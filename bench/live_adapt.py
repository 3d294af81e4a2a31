"""What training in the slack costs those who wait for answers: `edgectl run` at a fixed pace without and with `[adapt]`.

Feeds windows and their labels open loop, first to a run that never adapts, then to one that always does, and prints p50
and p99 of the age of answers as the command counts it, and steps of training a second beside serving against those of
`edgectl adapt` alone on the same windows. Ends with 1 if p99 grows by more than a fifth and more than 200 microseconds,
or training has less than 0.7 of its speed alone.

    python3 bench/live_adapt.py --model global.safetensors --data data/watch/subject_01.csv --seconds 60
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from live_common import add_arguments, begin, feed, line_of, quantile, read_table, sleep_until

STRIDE = 50


def serve(args, folder, when):
    """The ages of answers, and steps a second of training."""
    state = folder / when
    config = folder / f"{when}.toml"
    config.write_text(f'[adapt]\nwhen = "{when}"\nclean = ["{pathlib.Path(args.data).resolve()}"]\n'
                      f"steps = {args.steps}\ncpu = {args.cpu}\n")
    command = [args.binary, "run", "--json", "--config", config, "--model", args.model, "--state", state,
               "--gap", "off", "--shadow", "1000000", "--priority", args.priority]
    process = begin(command)
    ages, events, began = [], [], time.perf_counter()

    def read():
        for line in process.stdout:
            answer = json.loads(line)
            if answer["infer_us"] is not None:
                ages.append(answer["age_us"])

    def watch():
        path, seen = state / "events.jsonl", 0
        while process.poll() is None:
            lines = path.read_text().splitlines() if path.exists() else []
            events.extend((time.perf_counter(), json.loads(line)) for line in lines[seen:])
            seen = len(lines)
            time.sleep(0.02)

    threads = [threading.Thread(target=read), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    table = read_table(args.data)
    began = time.perf_counter() + 0.5
    for window in range(int(args.rate * args.seconds)):
        rows = [(t, table[t % len(table)]) for t in range(window * STRIDE, (window + 1) * STRIDE)]
        lines = [line_of(t, row) for t, row in rows]
        # The class of the window that ends with these rows, if it is one.
        first = rows[0][0] - STRIDE
        classes = {table[t % len(table)]["label"] for t in range(max(first, 0), rows[-1][0] + 1)}
        if len(classes) == 1 and first >= 0:
            lines.append(json.dumps({"label": classes.pop(), "series": "s", "from": first, "to": rows[-1][0]}) + "\n")
        sleep_until(began + window / args.rate)
        feed(process, "".join(lines))
    process.stdin.close()
    process.wait()
    for thread in threads:
        thread.join()
    took, at = [], None
    for when, event in events:
        if event["event"] == "adapt" and event["result"] == "begun":
            at = when
        elif at and (event["event"] == "adapted" or event["event"] == "adapt" and event["result"] == "refused"):
            took.append(when - at)
            at = None
    return ages, args.steps * len(took) / sum(took) if took else float("nan")


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--data", required=True)
    parser.add_argument("--rate", type=float, default=100, help="windows a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--cpu", default="1.0")
    parser.add_argument("--priority", default="fifo:50")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        quiet, _ = serve(args, folder, "never")
        busy, beside = serve(args, folder, "always")
        began = time.perf_counter()
        subprocess.run([args.binary, "--json", "--threads", "1", "adapt", "--model", args.model, "--data", args.data,
                        "--replay", args.data, "--steps", str(args.steps), "--out", folder / "m.safetensors"],
                       capture_output=True)
        alone = args.steps / (time.perf_counter() - began)
    p99 = [quantile(ages, 0.99) for ages in (quiet, busy)]
    good = p99[1] <= max(1.2 * p99[0], p99[0] + 200) and beside >= 0.7 * alone
    print(json.dumps({
        "p50_us": [quantile(ages, 0.5) for ages in (quiet, busy)], "p99_us": p99,
        "steps_per_s": {"beside": round(beside, 1), "alone": round(alone, 1)}, "holds": good,
    }))
    sys.exit(not good)


if __name__ == "__main__":
    main()
