"""Rounds between unequal machines: `unequal.py EDGECTL [--write BENCHMARKS.md]`.

Ten nodes as processes that meet in a folder, as in fleet.py; a third of them ten times slower (`node --slow 10`). Waiting for
them, leaving at a deadline with what they have done so far, doing without them, and asynchronous rounds (FedBuff) are
held against nodes that are all equal: how good the model is in the end, and after how long it is as good as
that of equal nodes, less one point.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from fleet import ROOT, Fleet, Folder
from machine import cpu
from markers import write_section


def arguments(mode: str, args: argparse.Namespace) -> tuple[int, list[str]]:
    """How many nodes are slow, and what the center is told."""
    fast = 10 - args.slow_nodes
    return {
        "equal nodes": (0, []),
        "waits for the slow ones": (args.slow_nodes, []),
        "partial work until a deadline": (args.slow_nodes, ["--quorum", str(fast), "--deadline", args.deadline]),
        "without the slow ones": (args.slow_nodes, []),
        "asynchronous": (args.slow_nodes, ["--quorum", str(args.buffer)]),
    }[mode]


def run(edgectl: Path, mode: str, seed: int, args: argparse.Namespace) -> tuple[list[float], list[float], int]:
    """Accuracy and time of each round, and how many updates were late."""
    at = Path(tempfile.mkdtemp(prefix="edgectl-unequal-"))
    slow, center = arguments(mode, args)
    job = re.sub(r"(?m)^seed = .*\n", "", args.config.read_text())
    is_late = mode == "asynchronous"
    if is_late:
        job = job.replace("[federation]\n", '[federation]\nreduce = { name = "buffered" }\n')
    job = re.sub(r"(?m)^rounds = .*$", f"rounds = {args.rounds * (2 if is_late else 1)}", job)
    (at / "job.toml").write_text(job.replace("[train]\n", f"[train]\nseed = {seed}\n"))
    told = argparse.Namespace(**vars(args))
    told.config, told.rounds, told.slow_nodes, told.center, told.compress = at / "job.toml", args.rounds * (2 if is_late else 1), slow, center, "whole"
    told.presign = False
    fleet = Fleet(edgectl, at, Folder(at), told)
    if mode == "without the slow ones":
        revoked = ", ".join(f'"{node}"' for node in fleet.nodes[:slow])
        roster = at / "roster.toml"
        roster.write_text(f"revoked = [{revoked}]\n\n{roster.read_text()}")
        fleet.nodes, told.slow_nodes = fleet.nodes[slow:], 0
    try:
        for who in ["center", *fleet.nodes]:
            fleet.start(who)
        # Who is slow is not waited for in the end.
        while fleet.running["center"].poll() is None:
            time.sleep(0.05)
        fleet.check()
        status = fleet.run("status", "--store", fleet.store.url, "--center", "center.pub", "--last", str(told.rounds))
    finally:
        fleet.stop()
        shutil.rmtree(at, ignore_errors=True)
    rounds = status["results"][::-1]
    took, times = 0.0, []
    for each in rounds:
        took += each["seconds"]
        times.append(took)
    for each in rounds:
        if each["refused"]:
            print(f"{mode}: round {each['round']} not taken: {each['refused']}", [u for u in each["updates"] if u.get("refused")], file=sys.stderr)
    late = sum(1 for each in rounds for update in each["updates"] if update.get("age"))
    return [each["metrics"]["accuracy"] if each["metrics"] else 0.0 for each in rounds], times, late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edgectl", type=Path, help="the binary")
    parser.add_argument("--config", type=Path, default=ROOT / "examples/watch.toml")
    parser.add_argument("--data", type=Path, default=ROOT / "data/watch")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--slow-nodes", type=int, default=3)
    parser.add_argument("--slow", type=float, default=10.0)
    parser.add_argument("--deadline", default="2s")
    parser.add_argument("--buffer", type=int, default=5, help="updates that close an asynchronous round")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--modes", nargs="*")
    parser.add_argument("--write", type=Path, help="put the table into this file")
    args = parser.parse_args()
    args.config, args.data = args.config.resolve(), args.data.resolve()
    head = ["nodes", "rounds", "s", "accuracy", "late updates", "s until as good as equal nodes less a point"]
    lines, target = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)], {}
    for mode in args.modes or ["equal nodes", "waits for the slow ones", "partial work until a deadline", "without the slow ones", "asynchronous"]:
        for seed in range(args.seeds):
            accuracy, times, late = run(args.edgectl.resolve(), mode, seed, args)
            target.setdefault(seed, accuracy[-1] - 0.01)
            until = next((f"{t:.0f}" for a, t in zip(accuracy, times, strict=True) if a >= target[seed] - 1e-9), "never")
            lines.append(f"| {mode} | {len(times)} | {times[-1]:.0f} | {accuracy[-1]:.4f} | {late} | {until} |")
            print(lines[-1], file=sys.stderr, flush=True)
    note = (
        "## Rounds between unequal machines\n\nMade by `bench/unequal.py EDGECTL --write BENCHMARKS.md`.\n\n"
        f"Ten nodes of {args.data.name} as processes of one thread each, {args.slow_nodes} of them {args.slow:.0f} times slower; a deadline of {args.deadline}; "
        f"asynchronous rounds close with {args.buffer} updates, and there are twice as many of them. {cpu()[0]}."
    )
    print("\n".join(lines))
    if args.write:
        write_section(args.write, "unequal", f"{note}\n\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
