"""Steps of preprocessing against SciPy, scikit-learn and numpy; reading against pandas, polars and pyarrow.

Not part of `all`: it has libraries of its own, and a table of 500 MB that is made once.
"""

import os
from pathlib import Path

import numpy as np

import large_csv
from programs import Contender, output
from report import agreement, number, spread, table, times
from rounds import Row
from suite import Suite

PACKAGES = {"scipy": "SciPy", "scikit-learn": "scikit-learn", "numpy": "numpy", "pandas": "pandas"}
PACKAGES |= {"polars": "polars", "pyarrow": "pyarrow"}
TITLE = "Preprocessing and reading"
ROWS, CHANNELS = 1_250_000, 8
STEPS = {  # the peer, and how many times as fast is wanted
    "butterworth": ("scipy.signal.sosfilt, order 4", 2.0),
    "decimate": ("scipy.signal.decimate(4, zero_phase=False)", 2.0),
    "savitzky-golay": ("scipy.signal.savgol_filter(11, 3)", 3.0),
    "median": ("scipy.ndimage.median_filter(5)", 10.0),
    "z-score": ("numpy, mean and deviation known", 1.5),
    "fitted-z-score": ("numpy, mean and deviation computed", 1.5),
    "fitted-pca": ("sklearn.decomposition.PCA(8)", 1.0),
}
READING = [  # threads, peer, file, and how many times as fast is wanted
    (1, "pandas", "csv", 1.0),
    (2, "pandas", "csv", 1.8),
    (2, "polars", "csv", 1 / 1.5),
    (1, "pyarrow", "parquet", 1 / 1.3),
]
DATA = Path(os.environ.get("EDGECTL_BENCH_DATA", Path.home() / ".cache" / "edgectl-bench-data"))
HEAD = ["edgectl ms", "peer ms", "ratio", "wanted", "quiet"]


def run(suite: Suite) -> list[str]:
    steps = suite.some(list(STEPS), 2)
    names, rows = steps, [measure(suite, step) for step in steps]
    files = tables(5e6 if suite.quick else 5e8)
    reads = [reading(suite, *case, files) for case in READING]
    stream = suite.measure("live", [Contender("edgectl", lambda: speed(suite, "live"))])
    return [
        f"Steps over {ROWS:,} rows of {CHANNELS} channels, f64, on one thread (PCA: 100,000 of 64 to 8):",
        *table(["step", "peer", *HEAD], [step_cells(*pair) for pair in zip(names, rows, strict=True)]),
        f"Reading {files['csv'].stat().st_size / 1e6:.0f} MB of CSV, a time and seven channels with 5 "
        "decimals, and the same as Parquet, from files in the page cache into memory:",
        *table(["file", "threads", "peer", *HEAD], [read_cells(*pair) for pair in reads]),
        "A live stream of 6 channels: Hampel (7), Butterworth (order 4), z-score, and every 64 rows a "
        "window of 128 that is normalized:",
        *live_table(stream),
        "Each side has its own best memory order: edgectl runs over rows, of the peers the faster of both "
        "orders counts. edgectl writes to memory that is there (`Pipeline::apply_to`), as numpy and "
        "`median_filter` do by `out=` and `output=`; the other functions have no such option. A fitted step "
        "is fitted and applied. edgectl starts filters in their steady state, SciPy from zero; values are "
        f"compared in the middle of the series. {agreement(rows)} edgectl reads as `train` does, its guesses "
        "about columns included (`edgectl bench read`); pandas has one thread whatever it is given.",
    ]


def measure(suite: Suite, step: str) -> Row:
    channels = 64 if step == "fitted-pca" else CHANNELS
    data = str(samples(suite, 100_000 if step == "fitted-pca" else ROWS, channels))
    ours = Contender("edgectl", lambda: speed(suite, step, data, channels), lambda: check(suite, step, data, channels))
    peer = suite.programs.peer("signal", "peer", 1, step=step, data=data, channels=channels)
    return suite.measure(step, [ours, peer])


def speed(suite: Suite, step: str, data: str = "", channels: int = 6, seconds: float | None = None) -> dict:
    """The example of the crate `preprocess`, which lies beside edgectl."""
    program = Path(suite.programs.edgectl_path).parent / "examples" / "speed"
    seconds = suite.programs.slot_s if seconds is None else seconds
    return output([str(program), step, f"--data={data}", f"--channels={channels}", f"--seconds={seconds}"])


def check(suite: Suite, step: str, data: str, channels: int) -> list[float]:
    found = speed(suite, step, data, channels, 0.0)["check"]
    # The sign of a direction is anyone's choice.
    return [abs(value) for value in found] if step == "fitted-pca" else found


def samples(suite: Suite, n_rows: int, channels: int) -> Path:
    """Waves with noise and an offset; with many channels a mixture of noises."""
    path = suite.programs.folder / f"{n_rows}x{channels}.f64"
    if not path.exists():
        rng = np.random.default_rng(1)
        noise = rng.standard_normal((n_rows, channels))
        if channels > CHANNELS:
            rows = noise @ rng.standard_normal((channels, channels))
        else:
            t = np.arange(n_rows)[:, None] / 100
            rows = np.sin(t * np.arange(1, channels + 1)) + 0.3 * noise + 10 * np.arange(channels)
        rows.tofile(path)
    return path


def tables(n_bytes: float) -> dict[str, Path]:
    """The table as CSV and as Parquet, made once."""
    import pyarrow.csv  # noqa: PLC0415: only this section needs it
    import pyarrow.parquet  # noqa: PLC0415

    DATA.mkdir(parents=True, exist_ok=True)
    found = {end: DATA / f"table-{n_bytes:.0e}.{end}" for end in ("csv", "parquet")}
    if not found["parquet"].exists():
        large_csv.write(found["csv"], n_bytes)
        pyarrow.parquet.write_table(pyarrow.csv.read_csv(found["csv"]), found["parquet"])
    return found


def reading(suite: Suite, threads: int, peer: str, kind: str, wanted: float, files: dict) -> tuple:
    path = str(files[kind])
    command = [suite.programs.edgectl_path, "bench", "read", f"--data={path}", f"--threads={threads}", "--json"]

    def ours(seconds: float) -> dict:
        return output([*command, f"--seconds={seconds}"])

    edgectl = Contender("edgectl", lambda: ours(suite.programs.slot_s), lambda: ours(0.0)["check"])
    other = suite.programs.peer("frames", "peer", threads, reader=peer, data=path)
    row = suite.measure(f"{kind}, {threads} threads, {peer}", [edgectl, other])
    return (kind, threads, peer, wanted), row


def cells(row: Row, wanted: float) -> list[str]:
    for slot in (slot for slots in row.slots.values() for slot in slots):
        slot["ms"] = slot["p50_us"] / 1e3
    own, other = spread(row, "edgectl", "ms"), spread(row, "peer", "ms")
    return [own, other, times(row.ratio("edgectl", "peer")), f"≥ {wanted:.2f}", row.quiet()]


def step_cells(step: str, row: Row) -> list[str]:
    peer, wanted = STEPS[step]
    return [step.replace("fitted-", "") + (" (fitted)" if "fitted" in step else ""), peer, *cells(row, wanted)]


def read_cells(case: tuple, row: Row) -> list[str]:
    kind, threads, peer, wanted = case
    return [kind, str(threads), peer, *cells(row, wanted)]


def live_table(row: Row) -> list[str]:
    if not row.has("edgectl"):
        return ["n/a"]
    told = [spread(row, "edgectl", key) for key in ("mean_us", "p50_us", "p99_us")]
    allocations = number(max(row.all("edgectl", "allocations")))
    head = ["mean µs a row", "wanted", "median µs", "p99 µs", "wanted", "allocations", "wanted", "quiet"]
    return table(head, [[told[0], "< 2", told[1], told[2], "< 5", allocations, "0", row.quiet()]])
