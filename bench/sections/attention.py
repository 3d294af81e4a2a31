"""Attention alone against PyTorch's and JAX's."""

from cases import ATTENTIONS, Attention
from report import agreement, rate, spread, summary, table, times
from rounds import Row
from suite import Suite

TITLE = "Attention"
PEERS = {"PyTorch SDPA": "pytorch", "JAX": "xla"}
HEAD = ["batch,heads,seq,head_dim", "edgectl µs", *(f"{name} µs" for name in PEERS)]
HEAD += ["ratio PyTorch", "ratio JAX", "edgectl GFLOP/s (share of matmul)", "quiet"]


def run(suite: Suite) -> list[str]:
    lines, sums, rows = [], [], []
    for name, backward in {"Forward": False, "Forward and backward": True}.items():
        measured = [measure(suite, s, backward) for s in suite.some(ATTENTIONS, 4)]
        rows += measured
        lines += [f"{name}:", *table(HEAD, [cells(row) for row in measured])]
        for peer in PEERS:
            sums.append(summary(f"{name}, {peer}", [row.ratio("edgectl", peer) for row in measured]))
    return [
        *lines,
        "Ratios, of the peer's time over edgectl's:",
        "",
        *sums,
        "",
        "PyTorch: `scaled_dot_product_attention` without a mask on contiguous `[batch, heads, seq, "
        "head_dim]`, backward by `torch.autograd.grad` of a fixed gradient. JAX: jitted "
        "`jax.nn.dot_product_attention`, backward by `jax.vjp`. GFLOP/s count two products forward "
        "and four backward. " + agreement(rows),
    ]


def measure(suite: Suite, s: Attention, backward: bool) -> Row:
    programs, threads = suite.programs, suite.threads
    case = {"task": "attention", "shape": s, "backward": backward}
    contenders = [programs.edgectl("attention", s, threads, backward=backward)]
    contenders += [programs.peer(peer, name, threads, **case) for name, peer in PEERS.items()]
    return suite.measure(s.label(), contenders)


def cells(row: Row) -> list[str]:
    return [
        row.label,
        *(spread(row, name) for name in ("edgectl", *PEERS)),
        *(times(row.ratio("edgectl", peer)) for peer in PEERS),
        rate(row, "edgectl"),
        row.quiet(),
    ]
