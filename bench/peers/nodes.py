"""Federated averaging of many nodes by PyTorch, in a process of its own: `nodes.py CASE`.

CASE is JSON: `data`, a table with a row for each sample, and `cpus`. One round is timed: a step of AdamW
on every node, the mean of all models, and a test of it. The answer is JSON: `p50_us` and `p99_us` (both
that time) and `peak_rss_bytes`.
"""

import csv
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import nn

PATCH, WIDTH, HEADS, HIDDEN, CLASSES = 4, 16, 2, 48, 2


class Encoder(nn.Module):
    """Patches, one block before a mean, and a linear head."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH, WIDTH)
        self.positions = nn.Parameter(torch.randn(steps // PATCH, WIDTH) * 0.02)
        options = {"batch_first": True, "norm_first": True, "activation": "gelu", "dropout": 0.0}
        self.block = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, **options)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(x.unflatten(1, (-1, PATCH))) + self.positions
        return self.head(self.norm(self.block(tokens)).mean(1))


def read(path: str) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor, torch.Tensor]:
    """The training rows of each node, and all test rows."""
    nodes: dict[str, list] = {}
    test = []
    with open(path, newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for node, split, label, *values in rows:
            row = ([float(value) for value in values], "ab".index(label))
            (nodes.setdefault(node, []) if split == "train" else test).append(row)
    tensors = lambda rows: (torch.tensor([x for x, _ in rows]), torch.tensor([y for _, y in rows]))  # noqa: E731
    return [tensors(rows) for rows in nodes.values()], *tensors(test)


def round_of(model: nn.Module, nodes: list, x: torch.Tensor, y: torch.Tensor) -> float:
    start = [p.detach().clone() for p in model.parameters()]
    total = [torch.zeros_like(p) for p in start]
    examples = sum(len(labels) for _, labels in nodes)
    loss_of = nn.CrossEntropyLoss()
    for values, labels in nodes:
        with torch.no_grad():
            for p, value in zip(model.parameters(), start, strict=True):
                p.copy_(value)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        optimizer.zero_grad()
        loss_of(model(values), labels).backward()
        optimizer.step()
        with torch.no_grad():
            for sum_, p in zip(total, model.parameters(), strict=True):
                sum_.add_(p, alpha=len(labels) / examples)
    with torch.no_grad():
        for p, value in zip(model.parameters(), total, strict=True):
            p.copy_(value)
        return float((model(x).argmax(1) == y).float().mean())


def main() -> None:
    case = json.loads(sys.argv[1])
    os.sched_setaffinity(0, case["cpus"])
    torch.set_num_threads(len(case["cpus"]))
    torch.manual_seed(1)
    nodes, x, y = read(case["data"])
    model = Encoder(x.shape[1])
    round_of(model, nodes[:20], x[:20], y[:20])  # what the first calls prepare
    start = time.perf_counter()
    round_of(model, nodes, x, y)
    us = (time.perf_counter() - start) * 1e6
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))
    print(json.dumps({"p50_us": us, "p99_us": us, "peak_rss_bytes": peak}))


if __name__ == "__main__":
    main()
