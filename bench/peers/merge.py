"""Libraries that merge weight files, each run in a process of its own: `merge.py CASE`.

CASE is a file of JSON: `library`, `rule`, `cpus`, `files`, for some rules `base`, and `out`. What the library needs
is imported first; then one merge is timed. The answer is JSON: `p50_us` and `p99_us` (both that time),
`peak_rss_bytes`, `version` and, where nothing is written to `out`, a `sample` of the result.
"""

import contextlib
import json
import os
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

PIECE = 1 << 20  # bytes
DENSITY, TRIM = 0.2, 0.2  # of TIES, and of the trimmed mean at each end
SAMPLE = 40  # values of each tensor


def pytorch(case: dict):
    """Adds file after file in place."""
    import torch
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(len(case["cpus"]))

    def step() -> None:
        first, *others = case["files"]
        total = load_file(first)
        for path in others:
            for name, tensor in load_file(path).items():
                total[name] += tensor
        for tensor in total.values():
            tensor /= len(case["files"])
        save_file(total, case["out"])

    return step, f"PyTorch {version('torch')}"


def numpy(case: dict):
    """Loads all files, then takes the mean of each list of arrays, as Flower does."""
    from safetensors.numpy import load_file, save_file

    def step() -> None:
        models = [load_file(path) for path in case["files"]]
        count = len(models)
        save_file({name: sum(model[name] for model in models) / count for name in models[0]}, case["out"])

    return step, f"numpy {version('numpy')}"


def copy(case: dict):
    """Merges nothing: two threads, or as many as there are CPUs, read all bytes in pieces, and write as many
    as one file has."""
    n_threads = len(case["cpus"])
    length = os.path.getsize(case["files"][0])

    def work(number: int, files: list[int], out: int) -> None:
        buffer = memoryview(bytearray(PIECE))
        for at in range(number * PIECE, length, n_threads * PIECE):
            piece = buffer[: min(PIECE, length - at)]
            for file in files:
                os.preadv(file, [piece], at)
            os.pwrite(out, piece, at)

    def step() -> list:
        files = [os.open(path, os.O_RDONLY) for path in case["files"]]
        out = os.open(case["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        threads = [threading.Thread(target=work, args=(i, files, out)) for i in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for file in [*files, out]:
            os.close(file)
        return []  # nothing to compare

    return step, ""


def flwr(case: dict):
    """Flower's function alone, on arrays in memory."""
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    from flwr.server.strategy import aggregate as flower
    from safetensors.numpy import load_file

    models = map(load_file, case["files"])
    results = [([model[name] for name in sorted(model)], 1) for model in models]
    most = len(results) - 3  # as many attackers as edgectl takes without another number
    merges = {
        "mean": lambda: flower.aggregate(results),
        "median": lambda: flower.aggregate_median(results),
        "trimmed-mean": lambda: flower.aggregate_trimmed_avg(results, TRIM),
        "krum": lambda: flower.aggregate_krum(results, most // 2, 0),
        "bulyan": lambda: flower.aggregate_bulyan(results, most // 4, flower.aggregate_krum, to_keep=0),
    }
    return merges[case["rule"]], f"Flower {version('flwr')}"


def mergekit(case: dict):
    """What the command `mergekit-pytorch` does, which takes weight files without a model's config."""
    import torch
    from mergekit.graph import Executor
    from mergekit.options import MergeOptions
    from mergekit.scripts.merge_raw_pytorch import RawPyTorchMergeConfig, plan_flat_merge

    torch.set_num_threads(len(case["cpus"]))
    values = {"weight": 1.0} | ({"density": DENSITY} if case["rule"] == "ties" else {})
    models = [{"model": path, "parameters": values} for path in case["files"]]
    description = {"merge_method": case["rule"], "models": models, "base_model": case.get("base")}
    config, options = RawPyTorchMergeConfig.model_validate(description), MergeOptions()

    def step() -> None:
        tasks = plan_flat_merge(config, case["out"], False, False, options)
        Executor(tasks, math_device="cpu", storage_device="cpu").execute()

    return step, f"mergekit {version('mergekit')}"


def peak_rss_bytes() -> int:
    """Of this process alone: `ru_maxrss` starts with what the parent had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    case = json.loads(Path(sys.argv[1]).read_text())
    os.sched_setaffinity(0, case["cpus"])
    libraries = {made.__name__: made for made in (pytorch, numpy, copy, flwr, mergekit)}
    with contextlib.redirect_stdout(sys.stderr):  # what a library prints is no answer
        step, name = libraries[case["library"]](case)
        start = time.perf_counter()
        result = step()
        us = (time.perf_counter() - start) * 1e6
    answer = {"p50_us": us, "p99_us": us, "peak_rss_bytes": peak_rss_bytes(), "version": name}
    if result is not None:
        answer["sample"] = [value for array in result for value in array.flat[:SAMPLE].tolist()]
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
