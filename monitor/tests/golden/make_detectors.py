"""Where river's detectors give alarms: writes detectors.json.

    python make_detectors.py        # river 0.26.1

The streams are numbers of SplitMix64, each divided by a power of two, so that Rust makes the same bits:
streams 0 to 9 are bits, with a probability that changes at some places; 10 to 19 are sums of four uniform numbers
around a mean that changes at once or slowly.
"""

import json
from pathlib import Path

from river._river_rust.drift import AdaptiveWindowing
from river.drift import ADWIN, PageHinkley
from river.drift.binary import DDM

N = 20_000
MASK = (1 << 64) - 1


def words(seed: int):
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def level(number: int, i: int) -> int:
    """Where the stream is at value i, in 1024ths; it moves every 1500 to 6000 values."""
    every = 1500 + 500 * (number % 10)
    part, within = divmod(i, every)
    here, before = ((p * 421 + number * 97) % 700 + 40 for p in (part, part - 1))
    if number % 3 == 2 and part > 0 and within < 1000:  # slowly
        return before + (here - before) * within // 1000
    return here


def stream(number: int) -> list[float]:
    random = words(number)
    values = []
    for i in range(N):
        if number < 10:
            values.append(float(next(random) >> 54 < level(number, i)))
        else:
            total = sum(next(random) >> 54 for _ in range(4)) - 2046
            values.append((total + (4 + number % 4) * level(number, i)) / 1024)
    return values


def alarms(detector, values) -> list[int]:
    found = []
    for i, x in enumerate(values):
        detector.update(x)
        if detector.drift_detected:
            found.append(i)
    return found


def main() -> None:
    rows = []
    for number in range(20):
        values = stream(number)
        bits = values if number < 10 else [float(x > 2) for x in values]
        kept = AdaptiveWindowing(0.002, 32, 5, 5, 10)
        ddm, warnings = DDM(), 0
        ddm_alarms = []
        for i, x in enumerate(bits):
            ddm.update(x)
            warnings += ddm.warning_detected
            if ddm.drift_detected:
                ddm_alarms.append(i)
        rows.append({
            "sum": sum(values),
            "adwin_reset": alarms(ADWIN(), values),
            "adwin": [i for i, x in enumerate(values) if kept.update(x)],
            "adwin_width": kept.get_width(),
            "adwin_variance": kept.get_variance(),
            "adwin_other": alarms(
                ADWIN(delta=0.05, clock=7, max_buckets=3, min_window_length=9, grace_period=40), values
            ),
            "page_hinkley": alarms(PageHinkley(), values),
            "page_hinkley_down": alarms(PageHinkley(threshold=15.0, delta=0.05, mode="down"), values),
            "ddm": ddm_alarms,
            "ddm_warnings": warnings,
        })
        print(number, {k: len(v) if isinstance(v, list) else v for k, v in rows[-1].items()})
    text = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_name("detectors.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
