"""Runs one peer in a process of its own: `worker.py NAME`, JSON requests on stdin, one answer each.

`{"case": {...}}` prepares a case (builds, compiles, checks) and answers `{"check": [...]}`; with
`"seconds"` it measures the case and answers `{"p50_us": ..., "p99_us": ...}`. `{}` forgets all
cases. A failure is answered as `{"error": "..."}`.
"""

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Callable


def measure(step: Callable[[], object], seconds: float) -> dict:
    """Median and 99th percentile of a call in microseconds, after a fifth of the time as warm-up."""

    def run_for(at_least: int, budget: float) -> list[float]:
        times, began = [], time.perf_counter()
        while len(times) < at_least or time.perf_counter() - began < budget:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return sorted(times)

    gc.collect()
    gc.disable()  # a collection is not the peer's work
    run_for(1, seconds / 5)
    times = run_for(3, seconds)
    gc.enable()
    at = (round(share * (len(times) - 1)) for share in (0.5, 0.99))
    return dict(zip(("p50_us", "p99_us"), (times[i] * 1e6 for i in at), strict=True))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the peer prints is no answer
    peer, prepared = importlib.import_module(f"peers.{sys.argv[1]}"), {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "case" not in request:
                prepared.clear()
                gc.collect()
                answer = {}
            else:
                key = json.dumps(request["case"])
                if key not in prepared:
                    prepared[key] = peer.prepare(request["case"])
                step, check = prepared[key]
                answer = measure(step, request["seconds"]) if "seconds" in request else {"check": check}
        except Exception as error:  # noqa: BLE001: whatever a peer cannot do is reported as such
            answer = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
