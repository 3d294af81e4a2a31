"""Markdown: cells, tables, what was measured on, and the section of a file."""

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from math import exp, log
from pathlib import Path
from statistics import mean

from machine import cpu
from rounds import Row

PACKAGES = {"torch": "PyTorch", "jax": "JAX", "onnxruntime": "ONNX Runtime"}


def number(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def spread(row: Row, name: str, key: str = "p50_us") -> str:
    """Median over rounds, and the least and largest round."""
    if not row.has(name):
        return "n/a"
    values = row.all(name, key)
    return f"{number(row.median(name, key))} ({number(min(values))}–{number(max(values))})"


def times(ratio: float | None) -> str:
    return "n/a" if ratio is None else f"{ratio:.2f}"


def rate(row: Row, name: str) -> str:
    """Operations per second of edgectl's products, and as a share of plain products."""
    if not row.has(name):
        return "n/a"
    return f"{row.median(name, 'gflops'):.0f} ({row.median(name, 'share'):.0%})"


def memory(row: Row, name: str) -> str:
    if not row.has(name) or row.slots[name][0].get("peak_rss_bytes") is None:
        return "n/a"
    return f"{row.median(name, 'peak_rss_bytes') / 2**20:.0f}"


def table(head: list[str], lines: list[list[str]]) -> list[str]:
    rows = [head, ["---"] * len(head), *lines]
    return ["", *(f"| {' | '.join(cells)} |" for cells in rows), ""]


def summary(what: str, ratios: list[float | None]) -> str:
    """Geometric mean and minimum of the ratios there are."""
    found = [ratio for ratio in ratios if ratio is not None]
    if not found:
        return f"- {what}: n/a"
    middle = exp(mean(map(log, found)))
    return f"- {what}: geometric mean {middle:.2f}, least {min(found):.2f} of {len(found)}"


def agreement(rows: list[Row]) -> str:
    return f"The programs' results agree within {max(row.difference for row in rows):.0e} (relative)."


def versions(edgectl: str, candle_lock: Path, packages: dict[str, str]) -> str:
    found = [edgectl or "edgectl"]
    for package, name in packages.items():
        try:
            found.append(f"{name} {version(package)}")
        except PackageNotFoundError:
            continue
    if packages is PACKAGES:
        locked = candle_lock.read_text().partition('name = "candle-core"\nversion = "')[2]
        found.append("candle " + locked.partition('"')[0])
    return ", ".join([*found, f"Python {platform.python_version()}", f"Linux {platform.release()}"])


def facts(cpus: list[int], threads: int, programs: str, rounds: str) -> list[str]:
    """Machine, versions and date, one list item each."""
    model, simd = cpu()
    return [
        f"- CPU: {model}, {os.cpu_count()} cores; pinned to {cpus}, {threads} threads",
        f"- SIMD: {' '.join(simd)}; avx512: {'yes' if 'avx512f' in simd else 'no'}",
        f"- versions: {programs}",
        f"- date: {datetime.date.today()}, {rounds}, "
        f"load average at the start {os.getloadavg()[0]:.2f}",
    ]
