#!/usr/bin/env python3
"""Makes the files beside this script, with NumPy 2.4.6, pyarrow 26.0.1 and polars 2.1.0.

Every Parquet file but `types` and `stamps` holds the same table, of `N` rows; what its cells are is said by
`table` here and by the tests of `engine/src/data/parquet`. The arrays hold `i / 4` in C order.
"""

import datetime
import decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent
N = 50


def table():
    i = np.arange(N)
    return pa.table({
        "t": pa.array(i * 0.5),
        "x": pa.array([None if k % 7 == 3 else k / 4 for k in range(N)], pa.float64()),
        "y": pa.array(i - 20, pa.int32()),
        "z": pa.array((i % 5).astype(np.float32)),
        "label": pa.array(["walk" if k < 25 else "run" for k in range(N)]),
    })


def save(name, **options):
    folder = HERE / "parquet"
    folder.mkdir(exist_ok=True)
    pq.write_table(table(), folder / f"{name}.parquet", **options)


save("snappy")
save("none", compression="none", use_dictionary=False)
save("gzip", compression="gzip", data_page_version="2.0")
save("zstd", compression="zstd", row_group_size=20)
save("brotli", compression="brotli")
save("pages", data_page_size=64, write_batch_size=8, dictionary_pagesize_limit=64)
save("delta", use_dictionary=False, data_page_version="2.0", column_encoding={
    "t": "BYTE_STREAM_SPLIT", "x": "PLAIN", "y": "DELTA_BINARY_PACKED", "z": "BYTE_STREAM_SPLIT",
    "label": "DELTA_BYTE_ARRAY"})
save("lengths", use_dictionary=False, compression="none", column_encoding={
    "t": "PLAIN", "x": "BYTE_STREAM_SPLIT", "y": "PLAIN", "z": "PLAIN", "label": "DELTA_LENGTH_BYTE_ARRAY"})
pl.from_arrow(table()).write_parquet(HERE / "parquet/polars.parquet")

# Two rows of every type that is a number.
pq.write_table(pa.table({
    "timestamp": pa.array([datetime.datetime(2016, 7, 1), datetime.datetime(2016, 7, 1, 0, 0, 1)], pa.timestamp("us")),
    "bool": pa.array([True, False]),
    "i8": pa.array([-1, 2], pa.int8()),
    "u8": pa.array([255, 2], pa.uint8()),
    "u32": pa.array([4_000_000_000, 2], pa.uint32()),
    "u64": pa.array([2**63, 2], pa.uint64()),
    "half": pa.array(np.array([0.5, -2], np.float16)),
    "dec": pa.array([decimal.Decimal("1.25"), decimal.Decimal("-0.50")], pa.decimal128(5, 2)),
    "day": pa.array([datetime.date(1970, 1, 2), datetime.date(1969, 12, 31)]),
    "noon": pa.array([43_200_000, 1], pa.time32("ms")),
    "ns": pa.array([1_500_000_000, -1_000_000_000], pa.timestamp("ns")),
    "empty": pa.array([None, None], pa.float64()),
}), HERE / "parquet/types.parquet")
pq.write_table(pa.table({
    "timestamp": pa.array([datetime.datetime(2016, 7, 1), datetime.datetime(2016, 7, 1, 1)], pa.timestamp("ns")),
    "x": pa.array([1.0, 2.0]),
}), HERE / "parquet/stamps.parquet", use_deprecated_int96_timestamps=True)
pq.write_table(pa.table({
    "t": pa.array([0.0, 1.0]),
    "x": pa.array([1.0, 2.0]),
    "acc": pa.array([{"x": 1.0}, {"x": 2.0}]),
    "list": pa.array([[1.0], []]),
}), HERE / "parquet/nested.parquet")

NPY = HERE / "npy"
NPY.mkdir(exist_ok=True)
for dtype in ["<f4", ">f8", "|i1", "<i2", ">i4", "<i8", "|u1", ">u2", "<u4", ">u8"]:
    kind = dtype[1]
    values = np.arange(12) / 4 if kind == "f" else np.arange(12)
    np.save(NPY / f"{'be_' if dtype[0] == '>' else ''}{dtype[1:]}.npy", values.astype(dtype).reshape(4, 3))
np.save(NPY / "b1.npy", np.arange(12).reshape(4, 3) % 2 == 1)
np.save(NPY / "one.npy", np.arange(12) / 4)
np.save(NPY / "fortran.npy", np.asfortranarray((np.arange(12) / 4).reshape(4, 3)))
np.save(NPY / "samples.npy", (np.arange(12) / 4).reshape(2, 3, 2))
np.save(NPY / "fortran_samples.npy", np.asfortranarray((np.arange(12) / 4).reshape(2, 3, 2)))
np.save(NPY / "objects.npy", np.array([1, "a", None], dtype=object), allow_pickle=True)
with open(NPY / "v2.npy", "wb") as file:
    np.lib.format.write_array(file, (np.arange(12) / 4).reshape(4, 3), version=(2, 0))

NPZ = HERE / "npz"
NPZ.mkdir(exist_ok=True)
X = (np.arange(12) / 4).reshape(2, 3, 2)
np.savez(NPZ / "x.npz", x=X)
np.savez_compressed(NPZ / "numbers.npz", X=X, y=np.array([7, -1]))
np.savez_compressed(NPZ / "names.npz", x=X.reshape(2, 6), labels=np.array(["walk", "run"]))
np.savez(NPZ / "truths.npz", x=X, label=np.array([True, False]))
np.savez(NPZ / "bytes.npz", x=X, y=np.array([[b"b"], [b"ab"]]))
np.savez(NPZ / "others.npz", x=X, weights=np.ones(2), bias=np.ones(2))
np.savez(NPZ / "short.npz", x=X, y=np.array([1, 2, 3]))
np.savez(NPZ / "objects.npz", x=X, y=np.array(["a", None], dtype=object))
