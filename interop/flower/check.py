#!/usr/bin/env python3
"""Compares a run under Flower with edgectl by hand, byte by byte.

The rounds are merged again from the updates that the run kept, and `edgectl simulate` runs the same job
in one process: it shows that nothing was lost on the way to the nodes either.
"""

import argparse
import glob
import subprocess
import sys
import tempfile
from pathlib import Path

from edgectl_flower import records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edgectl", required=True)
    parser.add_argument("--job", required=True, help="a job of as many rounds as were run")
    parser.add_argument("--data", required=True, help="pattern of the nodes' files")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder, with its updates")
    parser.add_argument("--rounds", type=int, required=True)
    args = parser.parse_args()
    data = sorted(glob.glob(args.data))

    def edgectl(*words: str | Path) -> None:
        subprocess.run([args.edgectl, *map(str, words), "--quiet"], check=True, stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as name:
        hand = Path(name)
        model = hand / "model-00.safetensors"
        edgectl("init", "--config", args.job, "--data", *data, "--out", model)
        same(args.run / model.name, model)
        for round_ in range(1, args.rounds + 1):
            updates = sorted((args.run / f"round-{round_:02}").glob("*.safetensors"))
            if len(updates) != len(data):
                sys.exit(f"round {round_} has {len(updates)} updates of {len(data)} nodes")
            out = hand / f"model-{round_:02}.safetensors"
            edgectl("aggregate", *updates, "--base", model, "--strategy", "job", "--out", out)
            same(args.run / out.name, out)
            model = out
        same(args.run / "global.safetensors", model)
        edgectl("simulate", "--config", args.job, "--data", *data, "--out", hand / "simulated")
        same(args.run / "global.safetensors", hand / "simulated" / "global.safetensors")
    print(f"{args.run}: {args.rounds} rounds of {len(data)} nodes, the bytes of edgectl by hand and of simulate")


def same(flower: Path, hand: Path) -> None:
    """Ends the program if two files differ."""
    if flower.read_bytes() == hand.read_bytes():
        return
    ours, theirs = (records.read(path) for path in (flower, hand))
    names = set(ours[records.ARRAYS]) | set(theirs[records.ARRAYS])
    differ = [n for n in sorted(names) if ours[records.ARRAYS].get(n) != theirs[records.ARRAYS].get(n)]
    what = f"the tensors {', '.join(differ)}" if differ else "what they say of themselves, not the tensors"
    sys.exit(f"{flower} and {hand.name} differ in {what}")


if __name__ == "__main__":
    main()
