"""Runs a checkpoint in PyTorch on the windows edgectl saw and compares the logits.

    python check_logits.py --model m.safetensors --tensors w.safetensors

`--tensors` is what `edgectl predict --tensors` writes: F32 `x [n, seq_len, channels]`, I64
`lengths [n]`, F32 `logits [n, n_classes]`. Exit code 1 if any logit differs by more than the
tolerance or is not a number.
"""

import argparse
import sys

import torch
from safetensors.torch import load_file

from edgectl_model import load

BATCH = 64


def main() -> int:
    parser = argparse.ArgumentParser(description="compare edgectl's logits with PyTorch's")
    parser.add_argument("--model", required=True, help="checkpoint written by edgectl")
    parser.add_argument("--tensors", required=True, help="file written by edgectl predict --tensors")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest allowed difference")
    args = parser.parse_args()

    model, meta = load(args.model)
    tensors = load_file(args.tensors)
    x, lengths, expected = tensors["x"], tensors["lengths"], tensors["logits"]
    if len(x) == 0:
        print(f"{args.tensors}: no windows", file=sys.stderr)
        return 1

    with torch.inference_mode():
        parts = zip(x.split(BATCH), lengths.split(BATCH))
        found = torch.cat([model(window, length) for window, length in parts])
    if found.shape != expected.shape:
        print(f"logits: expected {list(expected.shape)}, found {list(found.shape)}", file=sys.stderr)
        return 1

    diff = (found.double() - expected.double()).abs()
    good = diff <= args.tolerance  # false for NaN
    same = int((found.argmax(1) == expected.argmax(1)).sum())
    print(f"windows: {len(x)}, classes: {len(meta['classes'])}")
    print(f"max abs difference: {diff.max().item():.3e} (tolerance {args.tolerance:g})")
    print(f"equal argmax: {same} of {len(x)}")
    if not good.all():
        window, logit = (~good).nonzero()[0].tolist()
        pair = f"{found[window, logit].item():.7g} against {expected[window, logit].item():.7g}"
        print(f"differ: window {window}, logit {logit}: {pair}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
