"""What this machine is, and how busy others keep it (Linux)."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu() -> tuple[str, list[str]]:
    """The processor's name and its vector extensions."""
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    info = {name.strip(): value.strip() for name, _, value in lines}
    flags = info.get("flags", info.get("Features", "")).split()
    simd = [flag for flag in flags if flag.startswith(("avx", "fma", "asimd", "sve"))]
    return info.get("model name", platform.machine()), simd


def cpu_seconds(pid: int) -> float:
    """What a running process, its threads and its ended children have used of any CPU."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


class OthersMeter:
    """Share of the pinned CPUs that other processes used since the last reading."""

    def __init__(self, cpus: list[int], workers: Callable[[], list[int]]):
        """`workers` tells the ids of running children; ended children count by themselves."""
        self.names = {f"cpu{cpu}" for cpu in cpus}
        self.workers = workers
        self.last = self.now()

    def now(self) -> tuple[float, float]:
        """Seconds that others used of the pinned CPUs, and seconds that these had."""
        lines = (line.split() for line in Path("/proc/stat").read_text().splitlines())
        rows = [[int(n) for n in words[1:9]] for words in lines if words[0] in self.names]
        busy = sum(sum(row) - row[3] - row[4] for row in rows) / TICK  # all but idle and iowait
        own = sum(os.times()[:4]) + sum(map(cpu_seconds, self.workers()))
        return busy - own, sum(map(sum, rows)) / TICK

    def read(self) -> float:
        (others, wall), (others_before, wall_before) = self.now(), self.last
        self.last = (others, wall)
        return max(0.0, others - others_before) / max(wall - wall_before, 1e-9)
