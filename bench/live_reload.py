"""What it costs to put another model in the place of the one that answers: `edgectl run` at a fixed pace while the
file of `--model` is replaced again and again.

Counts answers against windows, compares the age of those that came while a model was swapped with the others, and
reads resident memory and the time that the model takes after the first and after the last swaps.

    python3 bench/live_reload.py --model global.safetensors --data data/watch/subject_01.csv --swaps 50 --seconds 60
    python3 bench/live_reload.py … --swaps 1000 --seconds 100
    python3 bench/live_reload.py … --state --shadow 20       # by way of the shadow and the canary
"""

import argparse
import collections
import json
import pathlib
import tempfile
import threading
import time

from live_common import add_arguments, begin, feed, lines_of, quantile, resident_kb, sleep_until, with_round


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--data", required=True)
    parser.add_argument("--stride", type=int, default=50, help="rows from one window to the next")
    parser.add_argument("--rate", type=float, default=100, help="windows a second")
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--state", action="store_true")
    parser.add_argument("--shadow", default="0")
    args = parser.parse_args()

    windows = int(args.rate * args.seconds)
    rows = lines_of(args.data, windows + 1, args.stride)
    answers, events, memory, swaps = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        live = folder / "live.safetensors"
        with_round(args.model, live, 1)
        command = [args.binary, "run", "--json", "--model", str(live), "--watch", "5ms", "--gap", "off"]
        if args.state:
            command += ["--state", str(folder / "state"), "--shadow", args.shadow]
        run = begin(command)
        reader = threading.Thread(target=lambda: answers.extend(map(json.loads, run.stdout)))
        teller = threading.Thread(target=lambda: events.extend(map(json.loads, run.stderr)))
        done = threading.Event()

        def swap():
            for number in range(args.swaps):
                when = began + args.seconds * (number + 0.5) / args.swaps
                if done.wait(max(0, when - time.perf_counter())):
                    return
                with_round(args.model, live, 2 + number)
                swaps.append(time.perf_counter())
                if number in (args.swaps // 20, args.swaps - 1):
                    time.sleep(0.02)
                    memory.append(resident_kb(run.pid))

        swapper = threading.Thread(target=swap)
        reader.start(), teller.start()
        began = time.perf_counter() + 0.2
        swapper.start()
        for window in range(windows):
            sleep_until(began + window / args.rate)
            feed(run, "".join(rows[window * args.stride:(window + 1) * args.stride]))
        done.set()
        swapper.join()
        run.stdin.close()
        reader.join(), teller.join()
    # With a folder of state the others are there.
    summary = events[-1]
    by_model = collections.Counter(answer["model"] for answer in answers)
    # The answer on each side of a change of models, against all others.
    near = {i + d for i in range(1, len(answers)) if answers[i]["model"] != answers[i - 1]["model"] for d in (-1, 0)}
    ages = {True: [], False: []}
    for i, answer in enumerate(answers):
        if answer["infer_us"] is not None:
            ages[i in near].append(answer["age_us"])
    tenth = max(1, len(answers) // 10)
    took = [answer["infer_us"] for answer in answers if answer["infer_us"] is not None]
    print(json.dumps({
        "windows": summary["due"], "answers": len(answers), "statuses": summary["answers"], "swaps": len(swaps),
        "reloads": summary["reloads"], "refused": summary["refused"], "models_that_answered": len(by_model),
        "age_us_near_swaps": {"p50": quantile(ages[True], 0.5), "max": max(ages[True], default=0)},
        "age_us_elsewhere": {"p50": quantile(ages[False], 0.5), "p99": quantile(ages[False], 0.99),
                             "max": max(ages[False], default=0)},
        "inference_p50_us": {"first tenth": quantile(took[:tenth], 0.5), "last tenth": quantile(took[-tenth:], 0.5)},
        "resident_growth_kb": memory[-1] - memory[0] if len(memory) > 1 else None,
    }))


if __name__ == "__main__":
    main()
