"""How edgectl's time grows with the sequence, the batch and the threads."""

from cases import MODELS, Attention
from programs import Contender
from report import memory, rate, spread, table, times
from rounds import Row
from suite import Suite

TITLE = "Scaling"
SEQS = [256, 512, 1024, 2048, 4096, 8192, 16384]
BATCHES = [1, 2, 4, 8, 16, 32]
FORWARD, BOTH, SDPA = "forward", "forward and backward", "PyTorch SDPA forward"


def run(suite: Suite) -> list[str]:
    counts = suite.thread_counts()
    head = ["batch", "pass", *(f"{n} thread{'s' * (n > 1)} µs" for n in counts), "speed-up"]
    head += ["GFLOP/s (share of matmul)", "MiB", "quiet"]
    attention = [attention_batch(suite, n, counts) for n in suite.some(BATCHES, 2)]
    training = [training_batch(suite, n, counts) for n in suite.some(BATCHES, 2)]
    model = MODELS[-1]
    return [
        "Attention over the sequence: batch 1, 8 heads, head_dim 64:",
        *sequence_table([sequence(suite, seq) for seq in suite.some(SEQS, 2)]),
        "Attention over the batch: 8 heads, seq 256, head_dim 64:",
        *table(head, [c for row in attention for c in batch_cells(row, [FORWARD, BOTH], counts)]),
        f"Training step over the batch: seq {model.seq}, channels {model.channels}, d_model "
        f"{model.d_model}, {model.heads} heads, {model.layers} layers, d_ff {model.d_ff}:",
        *table(head, [c for row in training for c in batch_cells(row, ["step"], counts)]),
        "Rates and memory are those of the most threads; the speed-up is from one thread to them. "
        "MiB is the most that the process held, forward alone / forward and backward where there "
        "are two.",
    ]


def sequence(suite: Suite, seq: int) -> Row:
    programs, threads, s = suite.programs, suite.threads, Attention(1, 8, seq, 64)
    case = {"task": "attention", "shape": s, "backward": False}
    return suite.measure(
        f"seq {seq}",
        [
            programs.edgectl("attention", s, threads, FORWARD),
            programs.edgectl("attention", s, threads, BOTH, backward=True),
            programs.peer("pytorch", SDPA, threads, **case),
        ],
    )


def sequence_table(rows: list[Row]) -> list[str]:
    head = ["seq", "forward µs", "GFLOP/s (share of matmul)", "forward and backward µs"]
    head += ["GFLOP/s (share of matmul)", "MiB", f"{SDPA} µs", "ratio forward", "quiet"]
    return table(head, [sequence_cells(row) for row in rows])


def sequence_cells(row: Row) -> list[str]:
    return [
        row.label.removeprefix("seq "),
        spread(row, FORWARD),
        rate(row, FORWARD),
        spread(row, BOTH),
        rate(row, BOTH),
        f"{memory(row, FORWARD)} / {memory(row, BOTH)}",
        spread(row, SDPA),
        times(row.ratio(FORWARD, SDPA)),
        row.quiet(),
    ]


def attention_batch(suite: Suite, batch: int, counts: list[int]) -> Row:
    s = Attention(batch, 8, 256, 64)

    def contender(what: str, threads: int) -> Contender:
        name = f"{what}, {threads}"
        return suite.programs.edgectl("attention", s, threads, name, backward=what == BOTH)

    found = [contender(what, threads) for what in (FORWARD, BOTH) for threads in counts]
    return suite.measure(f"attention, batch {batch}", found)


def training_batch(suite: Suite, batch: int, counts: list[int]) -> Row:
    s, programs = MODELS[-1]._replace(batch=batch), suite.programs
    found = [programs.edgectl("train", s, threads, f"step, {threads}") for threads in counts]
    return suite.measure(f"training, batch {batch}", found)


def batch_cells(row: Row, passes: list[str], counts: list[int]) -> list[list[str]]:
    """A line for each pass."""
    lines = []
    for what in passes:
        one, most = f"{what}, {counts[0]}", f"{what}, {counts[-1]}"
        lines.append(
            [
                row.label.rpartition(" ")[2],
                what,
                *(spread(row, f"{what}, {threads}") for threads in counts),
                times(row.ratio(most, one)),
                rate(row, most),
                memory(row, most),
                row.quiet(),
            ]
        )
    return lines
