"""Writes a CSV of any length in constant memory: a time and seven channels, 5 decimals each.

    python3 bench/large_csv.py table.csv --bytes 10e9
    edgectl preprocess describe --data table.csv --json     # tells `peak_rss_bytes` and `wall_s`
"""

import argparse
import random
from pathlib import Path

CHANNELS = ["ax", "ay", "az", "gx", "gy", "gz", "temperature"]
RATE_HZ = 100
BLOCK = 20_000  # rows whose values are made once and come again


def write(path: Path, n_bytes: float) -> int:
    """Writes rows until there are so many bytes; how many rows there are."""
    rng = random.Random(1)
    values = [",".join(f"{rng.gauss(0, 10):.5f}" for _ in CHANNELS) for _ in range(BLOCK)]
    n_rows = written = 0
    with path.open("w", buffering=1 << 20, newline="\n") as file:
        written += file.write(",".join(["t_s", *CHANNELS]) + "\n")
        while written < n_bytes:
            times = range(n_rows, n_rows + BLOCK)
            rows = (f"{t / RATE_HZ:.5f},{row}" for t, row in zip(times, values, strict=True))
            written += file.write("\n".join(rows) + "\n")
            n_rows += BLOCK
    return n_rows


def main() -> None:
    parser = argparse.ArgumentParser(description="write a large CSV by streaming")
    parser.add_argument("path", type=Path)
    parser.add_argument("--bytes", type=float, default=10e9, help="about how long it gets")
    args = parser.parse_args()
    n_rows = write(args.path, args.bytes)
    print(f"{args.path}: {n_rows} rows of {1 + len(CHANNELS)} columns, {args.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
