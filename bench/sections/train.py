"""A whole training step against PyTorch, JAX and candle."""

from cases import MODELS, Model
from report import agreement, rate, spread, summary, table, times
from rounds import Row
from suite import Suite

TITLE = "Training step"
EAGER = ["PyTorch module", "PyTorch nn.TransformerEncoder"]
COMPILED = "PyTorch compiled"
PROGRAMS = ["edgectl", *EAGER, COMPILED, "JAX", "candle"]
MATMUL = "torch.mm"
SHAPE = "batch,seq,channels,d_model,heads,layers,d_ff"


def run(suite: Suite) -> list[str]:
    rows = [measure(suite, s) for s in suite.some(MODELS, 2)]
    head = [SHAPE, *(f"{name} µs" for name in PROGRAMS), "quiet"]
    ratio_head = [SHAPE, "eager PyTorch", "compiled PyTorch", "JAX", "candle"]
    ratio_head += ["edgectl GFLOP/s (share of matmul)", "eager PyTorch GFLOP/s (share of torch.mm)"]
    return [
        "Times of a step:",
        *table(head, [[row.label, *(spread(row, p) for p in PROGRAMS), row.quiet()] for row in rows]),
        "Ratios, of the peer's time over edgectl's, and rates:",
        *table(ratio_head, [ratio_cells(row) for row in rows]),
        *(
            summary(name, [row.ratio("edgectl", peer_of(row)) for row in rows])
            for name, peer_of in RATIOS.items()
        ),
        "",
        *parts(rows),
        "A step is zero the gradients, forward, cross-entropy, backward and AdamW. Eager PyTorch is "
        "the faster of the two modules; the compiled one is `torch.compile` of the first, the "
        "optimizer is the fused one. JAX compiles the whole step and donates its buffers. The rates "
        "of both count edgectl's operations. Before timing, the peers take three steps from the "
        f"same weights. {agreement(rows)}",
    ]


RATIOS = {
    "eager PyTorch": lambda row: row.fastest(EAGER),
    "compiled PyTorch": lambda _: COMPILED,
    "JAX": lambda _: "JAX",
    "candle": lambda _: "candle",
}


def measure(suite: Suite, s: Model) -> Row:
    programs, threads = suite.programs, suite.threads

    def pytorch(name: str, module: str):
        return programs.peer("pytorch", name, threads, task="train", shape=s, module=module)

    return suite.measure(
        s.label(),
        [
            programs.edgectl("train", s, threads),
            *(pytorch(name, name.removeprefix("PyTorch ")) for name in (*EAGER, COMPILED)),
            programs.peer("xla", "JAX", threads, task="train", shape=s),
            programs.candle("train", s, threads),
            programs.peer("pytorch", MATMUL, threads, task="matmul"),
        ],
    )


def ratio_cells(row: Row) -> list[str]:
    cells = [row.label, *(times(row.ratio("edgectl", peer(row))) for peer in RATIOS.values())]
    return [*cells, rate(row, "edgectl"), torch_rate(row)]


def torch_rate(row: Row) -> str:
    ratio = row.ratio("edgectl", row.fastest(EAGER))
    if ratio is None or not row.has(MATMUL):
        return "n/a"
    gflops = row.median("edgectl", "gflops") / ratio  # the same work
    peak = 2 * 1024**3 / row.median(MATMUL) / 1e3
    return f"{gflops:.0f} ({gflops / peak:.0%})"


def parts(rows: list[Row]) -> list[str]:
    """Where a step's time goes, if edgectl tells it."""
    shares = [shares_of(row) for row in rows]
    if not all(shares):
        return []
    lines = [[part, *(f"{share.get(part, 0.0):.1%}" for share in shares)] for part in shares[0]]
    head = ["part", *(row.label for row in rows)]
    return ["Where the time of edgectl's step goes:", *table(head, lines)]


def shares_of(row: Row) -> dict[str, float]:
    """Of the round whose step was the median."""
    slots = sorted(row.slots.get("edgectl", []), key=lambda slot: slot["p50_us"])
    found = slots[len(slots) // 2].get("parts", []) if slots else []
    return {part["part"]: part["share"] for part in found or []}
