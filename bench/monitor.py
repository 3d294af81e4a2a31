"""How fast detectors are beside river's, in alternation: `monitor.py SPEED [--rounds 5]`.

SPEED is the example of the crate: `cargo build --release -p monitor --example speed`, then
`target/release/examples/speed`. Needs `pip install river==0.26.1`. Prints millions of updates a second, the best of all
rounds, and how many times faster; `adwin` of river is its compiled part without the wrapper, too.
"""

import argparse
import json
import random
import subprocess
import time

from river._river_rust.drift import AdaptiveWindowing
from river.drift import ADWIN, KSWIN, PageHinkley
from river.drift.binary import DDM

VALUES = 200_000


def speed(make, values) -> float:
    detector = make()
    update = detector.update
    start = time.perf_counter()
    for x in values:
        update(x)
    return len(values) / (time.perf_counter() - start) / 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("speed")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments = arguments.parse_args()
    draw = random.Random(1)
    errors = [float(draw.random() < 0.1) for _ in range(VALUES)]
    values = [draw.random() for _ in range(4_000)]
    peers = {
        "adwin": [(ADWIN, errors), (lambda: AdaptiveWindowing(0.002, 32, 5, 5, 10), errors)],
        "page_hinkley": [(PageHinkley, errors)],
        "ddm": [(DDM, errors)],
        "ks30": [(lambda: KSWIN(seed=1), values)],
        "cusum": [],
    }
    ours, theirs = {}, {name: [0.0] * len(makes) for name, makes in peers.items()}
    for _ in range(arguments.rounds):
        found = json.loads(subprocess.check_output([arguments.speed]))
        calibrate_s = found.pop("calibrate_s")
        for name, rate in found.items():
            ours[name] = max(ours.get(name, 0.0), rate)
        ours["calibrate_s"] = min(ours.get("calibrate_s", calibrate_s), calibrate_s)
        for name, makes in peers.items():
            for i, (make, stream) in enumerate(makes):
                theirs[name][i] = max(theirs[name][i], speed(make, stream))
    for name, rates in theirs.items():
        beside = ", ".join(f"{rate:.4f} ({ours[name] / rate:.1f} x)" for rate in rates) or "none"
        print(f"{name}: {ours[name]:.1f} M/s, river {beside}")
    print(f"calibrate: {ours['calibrate_s']:.2f} s")


if __name__ == "__main__":
    main()
