"""Compares one training step of edgectl with PyTorch's, on the same cores, in alternation.

    bench/run.sh [--rounds 5] [--write BENCHMARKS.md]

A round is one `edgectl bench train` process, then a slot of PyTorch steps for each peer: the
module of interop/pytorch and torch.nn.TransformerEncoder. The result is the median over rounds of
each round's median step; the faster peer counts. All runs are pinned to the same CPUs.
"""

import os

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # before anything loads a BLAS
    os.environ.pop(name, None)

import argparse
import datetime
import json
import platform
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from machine import OthersMeter, cpu

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "interop" / "pytorch"))
from edgectl_model import EdgectlEncoder  # noqa: E402

N_CLASSES = 4
NOISE_LIMIT = 0.10  # share of the pinned CPUs that others may use in a quiet row
BEGIN, END = "<!-- train-step: begin -->", "<!-- train-step: end -->"


class Shape(NamedTuple):
    """One model and batch; a token is one row (patch 1). The names are edgectl's flags."""

    batch: int
    seq: int
    channels: int
    d_model: int
    heads: int
    layers: int
    d_ff: int

    def label(self) -> str:
        return ",".join(map(str, self))


SHAPES = [
    Shape(16, 24, 1, 32, 4, 2, 64),
    Shape(32, 128, 6, 64, 4, 2, 128),
    Shape(32, 150, 1, 64, 8, 3, 256),
    Shape(16, 512, 12, 128, 8, 4, 512),
]


class TorchEncoder(nn.Module):
    """The same model by torch.nn.TransformerEncoder."""

    def __init__(self, s: Shape):
        super().__init__()
        self.embed = nn.Linear(s.channels, s.d_model)
        self.pos_embed = nn.Parameter(torch.randn(s.seq, s.d_model) * 0.02)
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(s.d_model, s.heads, s.d_ff, **options)
        norm = nn.LayerNorm(s.d_model)
        self.encoder = nn.TransformerEncoder(layer, s.layers, norm, enable_nested_tensor=False)
        self.head = nn.Linear(s.d_model, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, seq, channels]` to logits `[batch, n_classes]`."""
        return self.head(self.encoder(self.embed(x) + self.pos_embed).mean(dim=1))


def module_encoder(s: Shape) -> nn.Module:
    """The same model by the module that reads edgectl's checkpoints."""
    sizes = {"channels": s.channels, "seq_len": s.seq, "patch_len": 1, "d_model": s.d_model}
    sizes |= {"n_heads": s.heads, "n_layers": s.layers, "d_ff": s.d_ff, "dropout": 0.0}
    task = {"kind": "classification", "n_classes": N_CLASSES}
    return EdgectlEncoder({**sizes, "positions": "learned", "pooling": "mean", "task": task})


PEERS = {"module": module_encoder, "nn.TransformerEncoder": TorchEncoder}


def timed(step, slot_s: float) -> float:
    """Median microseconds of a step, after a fifth of the slot as warm-up."""
    start, n_warm, times = time.perf_counter(), 0, []
    while n_warm < 3 or time.perf_counter() - start < slot_s / 5:
        step()
        n_warm += 1
    while len(times) < 5 or time.perf_counter() - start < slot_s:
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return median(times) * 1e6


def torch_step(make, s: Shape, slot_s: float) -> float:
    """Median microseconds of a PyTorch training step of a new model on one fixed batch."""
    torch.manual_seed(0)
    model = make(s).train()
    x, targets = torch.randn(s.batch, s.seq, s.channels), torch.randint(N_CLASSES, (s.batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), targets).backward()
        optimizer.step()

    return timed(step, slot_s)


def torch_matmul_gflops(n: int = 1024) -> float:
    """What PyTorch's own matrix product sustains: the peak a step can be held against."""
    a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    return 2 * n**3 / timed(lambda: torch.mm(a, b, out=out), 0.5) / 1e3


def edgectl_step(edgectl: str, s: Shape, threads: int) -> dict:
    """The JSON object of one `edgectl bench train` process."""
    sizes = {**s._asdict(), "patch": 1, "threads": threads}
    flags = [f"--{name.replace('_', '-')}={size}" for name, size in sizes.items()]
    run = subprocess.run([edgectl, "bench", "train", *flags, "--json"], stdout=subprocess.PIPE, check=True)
    return json.loads(run.stdout)


@dataclass
class Row:
    """What the rounds measured for one shape, in microseconds a step."""

    shape: Shape
    ours: list[dict] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PEERS})
    matmul: list[float] = field(default_factory=list)
    noise: float = 0.0

    def cells(self) -> list[str]:
        ours = [run["p50_us"] for run in self.ours]
        best = min(self.peers, key=lambda name: median(self.peers[name]))
        gflops = median(run["gflops"] for run in self.ours)
        torch_gflops = gflops * median(ours) / median(self.peers[best])  # the same work
        return [
            self.shape.label(),
            spread(ours),
            *(spread(times) for times in self.peers.values()),
            best,
            f"{median(self.peers[best]) / median(ours):.2f}",
            f"{gflops:.1f} / {median(run['matmul_gflops'] for run in self.ours):.0f}",
            f"{torch_gflops:.1f} / {median(self.matmul):.0f}",
            "yes" if self.noise <= NOISE_LIMIT else f"not quiet ({self.noise:.0%})",
        ]


HEAD = ["batch,seq,channels,d_model,heads,layers,d_ff", "edgectl µs", *(f"{n} µs" for n in PEERS)]
HEAD += ["faster peer", "ratio", "edgectl GFLOP/s / matmul", "PyTorch GFLOP/s / matmul", "quiet"]


def spread(times: list[float]) -> str:
    return f"{median(times):.0f} ({min(times):.0f}–{max(times):.0f})"


def measure(s: Shape, args: argparse.Namespace, cpus: set[int]) -> Row:
    """All rounds of one shape; the meter runs through, one second of rest before each round."""
    row, meter = Row(s), OthersMeter(cpus)
    for number in range(args.rounds):
        time.sleep(1.0)
        noise = [meter.read()]
        row.ours.append(edgectl_step(args.edgectl, s, args.threads))
        noise.append(meter.read())
        for name, make in PEERS.items():
            row.peers[name].append(torch_step(make, s, args.slot_s))
            noise.append(meter.read())
        row.matmul.append(torch_matmul_gflops())
        noise.append(meter.read())
        row.noise = max(row.noise, *noise)
        warning = f", warning: others use {max(noise):.0%}" if max(noise) > NOISE_LIMIT else ""
        print(f"{s.label()}: round {number + 1} of {args.rounds}{warning}", file=sys.stderr)
    return row


def facts(args: argparse.Namespace, cpus: set[int]) -> list[str]:
    """Machine, versions and date, one string each."""
    model, simd = cpu()
    run = subprocess.run([args.edgectl, "--version"], stdout=subprocess.PIPE, text=True, check=False)
    return [
        f"CPU: {model}, {os.cpu_count()} cores; "
        f"pinned to {sorted(cpus)}, {args.threads} threads",
        f"SIMD: {' '.join(simd)}; avx512: {'yes' if 'avx512f' in simd else 'no'}",
        f"versions: {run.stdout.strip() or 'edgectl'}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, Linux {platform.release()}",
        f"date: {datetime.date.today()}, {args.rounds} rounds, {args.slot_s:g} s a PyTorch slot, "
        f"load average at the start {os.getloadavg()[0]:.2f}",
    ]


def markdown(about: list[str], rows: list[Row]) -> str:
    table = [HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows)]
    return "\n".join(
        ["## Training step", "", "Made by `bench/run.sh --write BENCHMARKS.md`.", ""]
        + [f"- {fact}" for fact in about]
        + ["", *(f"| {' | '.join(line)} |" for line in table), ""]
        + ["Times: median over rounds of each round's median step, and the least and largest round."]
        + ["Ratio: the faster PyTorch peer over edgectl. GFLOP/s of both count edgectl's operations."]
    )


def write_section(path: Path, text: str) -> None:
    """Puts the text between its markers, at the end of the file if they are not there yet."""
    old = path.read_text() if path.exists() else "# Benchmarks\n"
    before, _, rest = old.partition(BEGIN)
    after = rest.partition(END)[2].lstrip("\n")
    path.write_text(f"{before.rstrip()}\n\n{BEGIN}\n{text}\n{END}\n" + (f"\n{after}" if after else ""))


def main() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser = argparse.ArgumentParser(description="compare edgectl's training step with PyTorch's")
    parser.add_argument("--edgectl", default=str(target / "release" / "edgectl"), help="the binary")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slot-s", type=float, default=3.0, help="seconds of each PyTorch slot")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpus", help="CPUs to pin to, as 0,2; default the first --threads allowed")
    parser.add_argument("--write", type=Path, metavar="BENCHMARKS.md", help="Markdown file to update")
    args = parser.parse_args()
    if shutil.which(args.edgectl) is None:
        parser.error(f"no program at {args.edgectl}; build it with cargo build --release -p edgectl")

    allowed = sorted(os.sched_getaffinity(0))[: args.threads]
    cpus = {int(cpu) for cpu in args.cpus.split(",")} if args.cpus else set(allowed)
    os.sched_setaffinity(0, cpus)  # children inherit it
    torch.set_num_threads(args.threads)

    text = markdown(facts(args, cpus), [measure(s, args, cpus) for s in SHAPES])
    print(text)
    if args.write:
        write_section(args.write, text)


if __name__ == "__main__":
    main()
