"""pandas, polars and pyarrow at reading a table into memory."""

import os
from collections.abc import Callable

import pyarrow
import pyarrow.parquet
import polars
import pandas


def prepare(case: dict) -> tuple[Callable[[], object], list[float]]:
    read = READERS[case["reader"]](case["data"])
    return read, sums(read())


def of_pyarrow(path: str) -> Callable[[], object]:
    threads = len(os.sched_getaffinity(0))
    pyarrow.set_cpu_count(threads)
    return lambda: pyarrow.parquet.read_table(path, use_threads=threads > 1)


READERS = {
    "pandas": lambda path: lambda: pandas.read_csv(path),
    "polars": lambda path: lambda: polars.read_csv(path),
    "pyarrow": of_pyarrow,
}


def sums(table: object) -> list[float]:
    """Of each column but the first, which is the time."""
    if isinstance(table, pyarrow.Table):
        table = table.to_pandas()
    return [float(table[name].sum()) for name in list(table.columns)[1:]]
