"""A step of every optimizer alone against PyTorch's."""

from cases import OPTIMIZERS, SIZES, Optimizer
from report import number, spread, summary, table, times
from rounds import Row
from suite import Suite

TITLE = "Optimizer step"
HEADLINE = "adamw"
FUSED, FOREACH, COMPILED = "PyTorch fused", "PyTorch foreach", "PyTorch compiled"
FORMS = dict.fromkeys(["sgd", "adam", "amsgrad", "adamw", "adagrad"], [FUSED, COMPILED])
FORMS |= dict.fromkeys(["nadam", "radam", "rmsprop"], [FOREACH, COMPILED])  # the others: no peer
HEAD = ["parameters", "edgectl µs", "edgectl GB/s", "PyTorch fused µs", "ratio", "copy µs", "copy GB/s"]
ALL_HEAD = ["optimizer", "bytes a parameter", "edgectl µs", "edgectl GB/s", "PyTorch µs"]
ALL_HEAD += ["PyTorch form", "ratio", "share of copy", "quiet"]


def run(suite: Suite) -> list[str]:
    names = suite.some(OPTIMIZERS, 4)
    found = {size: {name: measure(suite, Optimizer(name, size)) for name in names} for size in SIZES}
    lines, sums = [], []
    for size, rows in found.items():
        lines += [f"All, {size:,} parameters:", *table(ALL_HEAD, [cells(s, r) for s, r in rows.items()])]
        ratios = [row.ratio("edgectl", fastest(row)) for name, row in rows.items() if name in FORMS]
        sums.append(summary(f"{size:,} parameters", ratios))
    headline = [headline_cells(size, rows[HEADLINE]) for size, rows in found.items()]
    return [
        "AdamW:",
        *table([*HEAD, "quiet"], headline),
        *lines,
        "Ratios, of PyTorch's time over edgectl's:",
        "",
        *sums,
        "",
        "The bytes are those that a step reads and writes: parameters, gradients and state, 28 a "
        "parameter for AdamW; a copy of as many reads half of them and writes half. A copy writes to "
        "other memory than it reads, a step writes in place: a share above 100 % is possible. Of PyTorch, on "
        "one tensor with a fixed gradient, the faster of two forms counts in the tables of all: the "
        "fused optimizer, or foreach where there is no fused one, and `torch.compile` of the foreach "
        "step; yogi, lion, lamb and schedule-free AdamW it does not have. Both use their defaults "
        "and a learning rate of 1e-6; the results are not compared here. 100,000 parameters stay in "
        "the caches, and a call from Python takes a larger part of PyTorch's time.",
    ]


def measure(suite: Suite, s: Optimizer) -> Row:
    programs, threads = suite.programs, suite.threads

    def pytorch(name: str):
        form = name.removeprefix("PyTorch ")
        return programs.peer("pytorch", name, threads, task="optimizer", shape=s, form=form)

    peers = [pytorch(name) for name in FORMS.get(s.name, [])]
    return suite.measure(s.label(), [programs.edgectl("optimizer", s, threads), *peers])


def fastest(row: Row) -> str | None:
    return row.fastest([FUSED, FOREACH, COMPILED])


def told(row: Row, key: str) -> str:
    """What edgectl tells beside the time."""
    return number(row.median("edgectl", key)) if row.has("edgectl") else "n/a"


def headline_cells(size: int, row: Row) -> list[str]:
    return [
        f"{size:,}",
        spread(row, "edgectl"),
        told(row, "gb_per_s"),
        spread(row, FUSED),
        times(row.ratio("edgectl", FUSED)),
        spread(row, "edgectl", "copy_us"),
        told(row, "copy_gb_per_s"),
        row.quiet(),
    ]


def cells(name: str, row: Row) -> list[str]:
    peer = fastest(row)
    slot = row.slots["edgectl"][0] if row.has("edgectl") else None
    return [
        name,
        f"{slot['bytes'] / slot['params']:.0f}" if slot else "n/a",
        spread(row, "edgectl"),
        told(row, "gb_per_s"),
        spread(row, peer) if peer else "n/a",
        peer.removeprefix("PyTorch ") if peer else "n/a",
        times(row.ratio("edgectl", peer)),
        f"{row.median('edgectl', 'share'):.0%}" if slot else "n/a",
        row.quiet(),
    ]
