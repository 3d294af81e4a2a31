"""Rounds: every program once per round, in turn, and what became of them."""

import sys
import time
from dataclasses import dataclass, field
from statistics import median

from machine import OthersMeter
from programs import Contender, Failure, Programs

NOISE_LIMIT = 0.10  # share of the pinned CPUs that others may use in a quiet row
TOLERANCE = 1e-3  # by which the programs' checks may differ, relative to the largest number


@dataclass
class Row:
    """What the rounds measured for one case. A program that failed has no slots."""

    label: str
    slots: dict[str, list[dict]] = field(default_factory=dict)
    noise: float = 0.0
    difference: float = 0.0  # largest between any program's check and the first's

    def has(self, name: str) -> bool:
        return bool(self.slots.get(name))

    def all(self, name: str, key: str = "p50_us") -> list[float]:
        return [slot[key] for slot in self.slots[name]]

    def median(self, name: str, key: str = "p50_us") -> float:
        return median(self.all(name, key))

    def fastest(self, names: list[str]) -> str | None:
        return min(filter(self.has, names), key=self.median, default=None)

    def ratio(self, ours: str | None, theirs: str | None) -> float | None:
        """How many times as fast ours is; None if one of them failed."""
        if not (ours and theirs and self.has(ours) and self.has(theirs)):
            return None
        return self.median(theirs) / self.median(ours)

    def quiet(self) -> str:
        return "yes" if self.noise <= NOISE_LIMIT else f"not quiet ({self.noise:.0%})"


@dataclass
class Rounds:
    """How rows are measured."""

    programs: Programs
    count: int
    rest_s: float

    def measure(self, label: str, contenders: list[Contender]) -> Row:
        """All rounds of one case; the meter runs through, with a rest before each round."""
        row = Row(label)
        ready = self.prepared(contenders, row)
        meter = OthersMeter(self.programs.cpus, self.programs.worker_ids)
        for number in range(self.count):
            time.sleep(self.rest_s)
            noise = [meter.read()] if self.rest_s else []
            for contender in ready[:]:
                if contender.rounds is not None and number >= contender.rounds:
                    continue
                try:
                    row.slots.setdefault(contender.name, []).append(contender.run())
                except Failure as failure:
                    drop(contender, failure, ready, row)
                noise.append(meter.read())
            row.noise = max(row.noise, *noise)
            warning = f", warning: others use {max(noise):.0%}" if max(noise) > NOISE_LIMIT else ""
            print(f"{label}: round {number + 1} of {self.count}{warning}", file=sys.stderr)
        self.programs.forget()
        return row

    def prepared(self, contenders: list[Contender], row: Row) -> list[Contender]:
        """Those that can do the case, and that compute what the first of them computes."""
        ready, expected = [], []
        for contender in contenders:
            ready.append(contender)
            try:
                check = contender.prepare()
                expected = expected or check
                row.difference = max(row.difference, difference(expected, check))
            except Failure as failure:
                drop(contender, failure, ready, row)
        return ready


def difference(expected: list[float], check: list[float]) -> float:
    """The largest difference as a share of the largest number; 0 for a program without a check."""
    if not check:
        return 0.0
    if len(check) != len(expected):
        raise Failure(f"gives {len(check)} numbers, expected {len(expected)}")
    scale = max(map(abs, expected))
    found = max(abs(a - b) for a, b in zip(expected, check, strict=True)) / scale
    if not found <= TOLERANCE:
        raise Failure(f"computes something else: off by {found:.1e}")
    return found


def drop(contender: Contender, failure: Failure, ready: list[Contender], row: Row) -> None:
    print(f"{row.label}: no {contender.name}: {failure}", file=sys.stderr)
    ready.remove(contender)
    row.slots.pop(contender.name, None)
