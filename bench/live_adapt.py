"""What training in the slack costs those who wait for answers: `edgectl run` at a fixed pace, without and with `[adapt]`.

The model is the largest of the benchmarks (--shape: batch, steps, channels, d_model, heads, layers, d_ff; a training step
takes 212 ms there), with weights as they begin, on made-up rows. Windows are fed open loop, with labels 20 windows later.
Three runs: one that never adapts; one that trains while windows come, of which the ages of answers from the beginning of
the training to its end count; and one to which no window comes any more once it trains, which is what the other core
gives alone. Prints p50 and p99 of the age of answers as the command counts it, and steps a second, the gate's answers
with them. Ends with 1 if p99 grows by more than a fifth and more than 200 microseconds, or training has less than 0.7 of
its speed alone.

    python3 bench/live_adapt.py --steps 200            # about two minutes
    python3 bench/live_adapt.py --steps 10 --rate 50   # a short form
"""

import argparse
import json
import math
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

STRIDE, CLASSES, DELAY, PER_SERIES = 32, ("slow", "fast"), 20, 8
JOB = """
[data]
path = "clean.csv"
[window]
len = {seq}
stride = {stride}
[[preprocess]]
step = "z-score"
[model]
patch_len = 1
d_model = {d_model}
n_heads = {heads}
n_layers = {layers}
d_ff = {d_ff}
[train]
epochs = 1
batch = {batch}
lr = 1e-3
"""
ADAPT = """
[adapt]
when = "{when}"
clean = ["clean.csv"]
batch = {batch}
steps = {steps}
windows = 16
cpu = {cpu}
"""


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def series(shape, number, rng):
    """The rows of a series of 8 windows, of the class with its number's parity."""
    speed = (0.05, 0.2)[number % 2]
    phases = [rng.uniform(0, 6) for _ in range(shape["channels"])]
    return [[round(math.sin(speed * t + phase) + rng.gauss(0, 0.3), 3) for phase in phases]
            for t in range(shape["seq"] + STRIDE * (PER_SERIES - 1))]


def bursts(shape, windows, rng):
    """What is sent for each window, with the label of one before."""
    of_classes = [series(shape, number, rng) for number in range(2)]
    channels = [f"c{i}" for i in range(shape["channels"])]
    found, number = [], 0
    while len(found) < windows:
        lines = []
        for t, row in enumerate(of_classes[number % 2]):
            lines.append(json.dumps({"t": t, "series": str(number), **dict(zip(channels, row))}))
            if t + 1 >= shape["seq"] and (t + 1 - shape["seq"]) % STRIDE == 0:
                labelled = len(found) - DELAY
                if labelled >= 0:
                    label = CLASSES[labelled // PER_SERIES % 2]
                    lines.append(json.dumps({"label": label, "id": labelled}))
                found.append(("\n".join(lines) + "\n").encode())
                lines = []
        number += 1
    return found


def serve(args, shape, folder, name, sent):
    """Ages of answers that count, in microseconds, and seconds of training."""
    state, config = folder / name, folder / f"{name}.toml"
    when = "never" if name == "quiet" else "always"
    config.write_text(ADAPT.format(when=when, batch=shape["batch"], steps=args.steps, cpu=args.cpu))
    command = [args.binary, "run", "--json", "--config", config, "--model", folder / "m.safetensors", "--state", state,
               "--gap", "off", "--silence", "off", "--priority", args.priority]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    answers, begun, ended = [], threading.Event(), threading.Event()
    times = {}

    def read():
        for line in process.stdout:
            answer = json.loads(line)
            if answer["infer_us"] is not None:
                answers.append((time.perf_counter(), answer["age_us"]))

    def watch():
        path = state / "events.jsonl"
        seen = 0
        while process.poll() is None:
            lines = path.read_text().splitlines(keepends=True) if path.exists() else []
            for event in (json.loads(line) for line in lines[seen:] if line.endswith("\n")):
                is_begun = event["event"] == "adapt" and event["result"] == "begun"
                if is_begun and not begun.is_set():
                    times["begun"] = time.perf_counter()
                    begun.set()
                elif event["event"] == "adapted" or event["event"] == "adapt" and event["result"] != "begun":
                    times.setdefault("ended", time.perf_counter())
                    times.setdefault("result", event.get("result", "adapted"))
                    ended.set()
            seen = sum(line.endswith("\n") for line in lines)
            time.sleep(0.02)

    threads = [threading.Thread(target=read), threading.Thread(target=watch)]
    for thread in threads:
        thread.start()
    began = time.perf_counter() + 1
    for window, burst in enumerate(sent):
        while (left := began + window / args.rate - time.perf_counter()) > 0:
            time.sleep(left)
        process.stdin.write(burst)
        process.stdin.flush()
        if ended.is_set():
            break
        if name == "alone" and begun.is_set():
            ended.wait()
            break
    process.stdin.close()
    process.wait()
    for thread in threads:
        thread.join()
    if name == "quiet":
        # As in the others, not the first windows.
        return [age for _, age in answers[2 * DELAY:]], None
    if times.get("result") not in ("adapted", "refused"):
        sys.exit(f"{name}: nothing was trained within {len(sent)} windows: {times}")
    ages = [age for when, age in answers if times["begun"] <= when <= times["ended"]]
    return ages, times["ended"] - times["begun"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default="target/release/edgectl")
    parser.add_argument("--shape", default="16,512,12,128,8,4,512")
    parser.add_argument("--rate", type=float, default=100, help="windows a second")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120, help="the longest time for the training")
    parser.add_argument("--cpu", default="1.0")
    parser.add_argument("--priority", default="fifo:50")
    args = parser.parse_args()
    names = ("batch", "seq", "channels", "d_model", "heads", "layers", "d_ff")
    shape = dict(zip(names, map(int, args.shape.split(","))))
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        channels = [f"c{i}" for i in range(shape["channels"])]
        with open(folder / "clean.csv", "w") as file:
            file.write(f"series,t,label,{','.join(channels)}\n")
            for number in range(12):
                for t, row in enumerate(series(shape, number, rng)):
                    file.write(f"{number},{t},{CLASSES[number % 2]},{','.join(map(str, row))}\n")
        (folder / "job.toml").write_text(JOB.format(stride=STRIDE, **shape))
        subprocess.run([args.binary, "init", "--config", folder / "job.toml", "--data", folder / "clean.csv", "--out",
                        folder / "m.safetensors"], check=True, capture_output=True)
        sent = bursts(shape, int(args.rate * args.seconds), rng)
        _, alone_s = serve(args, shape, folder, "alone", sent)
        busy, beside_s = serve(args, shape, folder, "beside", sent)
        quiet, _ = serve(args, shape, folder, "quiet", sent[:int(args.rate * beside_s) + 2 * DELAY])
    p99 = [quantile(ages, 0.99) for ages in (quiet, busy)]
    good = p99[1] <= max(1.2 * p99[0], p99[0] + 200) and beside_s <= alone_s / 0.7
    print(json.dumps({
        "answers": [len(quiet), len(busy)], "p50_us": [quantile(ages, 0.5) for ages in (quiet, busy)], "p99_us": p99,
        "steps_per_s": {"beside": round(args.steps / beside_s, 2), "alone": round(args.steps / alone_s, 2)},
        "share": round(alone_s / beside_s, 3), "holds": good,
    }))
    sys.exit(not good)


if __name__ == "__main__":
    main()
