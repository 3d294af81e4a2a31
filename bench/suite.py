"""What a section gets: programs, rounds and the cases to measure."""

from collections.abc import Sequence
from dataclasses import dataclass

from programs import Contender, Programs
from rounds import Rounds, Row


@dataclass
class Suite:
    """One run of the comparison."""

    programs: Programs
    rounds: Rounds
    threads: int
    quick: bool

    def measure(self, label: str, contenders: list[Contender]) -> Row:
        return self.rounds.measure(label, contenders)

    def some(self, cases: Sequence, quick: int) -> Sequence:
        """All cases, or the first few in a quick run."""
        return cases[:quick] if self.quick else cases

    def thread_counts(self) -> list[int]:
        """1, 2, 4, ... and the number of threads that was asked for."""
        below = (1 << i for i in range(self.threads.bit_length()))
        return [n for n in below if n < self.threads] + [self.threads]
