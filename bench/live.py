"""How long a row waits for its answer: feeds `edgectl run` at a fixed pace and reads the answers back.

Open loop: rows are sent when they are due, whether or not earlier ones are answered, and latency counts from the
moment that the schedule says, not from when this script came to it. Prints p50, p99 and the longest, as seen from
outside (schedule to the line read back, with this script's own delays) and as the command counts it (arrival of the
window's last row to its answer), and seconds of CPU for 1,000 answers.

    python3 bench/live.py --model global.safetensors --data data/watch/subject_01.csv --rate 100 --seconds 60
    python3 bench/live.py … --stop-reader 5      # nobody reads for 5 s in the middle
    python3 bench/live.py … --slow 100           # a model that takes a hundred times as long
    python3 bench/live.py … --series 64 --hz 50  # a row of each of 64 series every 20 ms; their windows are due in turn
"""

import argparse
import collections
import json
import threading
import time

from live_common import add_arguments, begin, feed, line_of, quantile, read_table, resident_kb, sleep_until


def main():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--data", required=True)
    parser.add_argument("--stride", type=int, default=50, help="rows from one window to the next")
    parser.add_argument("--rate", type=float, default=100, help="windows a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--deadline", default="50ms")
    parser.add_argument("--priority", default="fifo:50")
    parser.add_argument("--stop-reader", type=float, default=0, help="seconds for which nobody reads")
    parser.add_argument("--slow", default="1")
    parser.add_argument("--series", type=int, default=0, help="so many at the same time, instead of --rate")
    parser.add_argument("--hz", type=float, default=50, help="rows a second of each of --series")
    args = parser.parse_args()

    table = read_table(args.data)
    # What is sent at a time, and which windows it ends.
    if args.series:
        every, of = 1 / args.hz, range(args.series)
        # Each series is somewhere else in its window.
        starts = [number * args.stride // args.series for number in of]
        bursts = []
        for tick in range(int(args.seconds * args.hz)):
            at = [tick + start for start in starts]
            lines = [line_of(t, table[(t + 997 * number) % len(table)], f"s{number}") for number, t in zip(of, at)]
            bursts.append(("".join(lines), [(f"s{number}", t) for number, t in zip(of, at)]))
    else:
        every, windows = 1 / args.rate, int(args.rate * args.seconds)
        rows = [line_of(t, table[t % len(table)]) for t in range((windows + 2) * args.stride)]
        bursts = [("".join(rows[at:at + args.stride]), [("s", at + args.stride - 1)])
                  for at in range(0, len(rows), args.stride)]

    command = [args.binary, "run", "--json", "--model", args.model, "--deadline", args.deadline,
               "--priority", args.priority, "--slow", args.slow, "--gap", "off"]
    process = begin(command)
    due, outside, inside, statuses = {}, [], [], collections.Counter()
    pause = threading.Event()

    def read():
        for line in process.stdout:
            now = time.perf_counter()
            answer = json.loads(line)
            statuses[answer["status"]] += 1
            if answer["infer_us"] is not None:
                inside.append(answer["age_us"])
                outside.append(1e6 * (now - due[answer["series"], answer["t"]]))
            if pause.is_set():
                pause.clear()
                time.sleep(args.stop_reader)

    events = []
    reader = threading.Thread(target=read)
    teller = threading.Thread(target=lambda: events.extend(map(json.loads, process.stderr)))
    reader.start(), teller.start()
    began = time.perf_counter() + 0.2
    memory = []
    for number, (burst, ends) in enumerate(bursts):
        when = began + number * every
        sleep_until(when)
        due.update((end, when) for end in ends)
        feed(process, burst)
        if number in (len(bursts) // 10, len(bursts) - 1):
            memory.append(resident_kb(process.pid))
        if args.stop_reader and number == len(bursts) // 2:
            pause.set()
    process.stdin.close()
    reader.join(), teller.join()
    summary = events[-1]
    print(json.dumps({
        "windows": summary["due"], "statuses": dict(statuses),
        "accounted": sum(statuses.values()) == summary["due"],
        "outside_us": {name: round(value) for name, value in (
            ("p50", quantile(outside, 0.5)), ("p99", quantile(outside, 0.99)), ("max", max(outside, default=0)))},
        "inside_us": {"p50": quantile(inside, 0.5), "p99": quantile(inside, 0.99), "max": max(inside, default=0)},
        "inference_us": summary["inference_us"], "cpu_s_per_1000": summary["cpu_s_per_1000"],
        "resident_growth_kb": memory[-1] - memory[0],
        "events": [event for event in events if event["event"] not in ("start", "summary")],
    }))


if __name__ == "__main__":
    main()
