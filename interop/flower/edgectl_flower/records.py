"""A safetensors file as Flower's records, and back to the same bytes.

The tensors are an ArrayRecord under their names, so that Flower's mods and strategies see weights. The
file's header (names, dtypes, places, and the metadata in which edgectl keeps the job) goes beside them
as it is.
"""

import json
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

ARRAYS = "arrays"
FILE = "safetensors"

# What numpy knows; tensors of other dtypes (BF16, F8) travel as their bytes.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BOOL": "|b1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
}


def read(path: Path) -> dict[str, ArrayRecord | ConfigRecord]:
    """The records of a file."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = data[8:start]
    arrays = {
        name: Array(np.frombuffer(data[start + begin : start + end], dtype).reshape(shape))
        for name, dtype, shape, begin, end in _tensors(header)
    }
    return {ARRAYS: ArrayRecord(arrays), FILE: ConfigRecord({"header": header})}


def write(content: RecordDict, path: Path) -> None:
    """Writes the file that records stand for.

    They come from another machine: what does not fit together is a ValueError, and nothing is
    written. Whether the file is a model is for edgectl to say.
    """
    arrays, header = content.array_records.get(ARRAYS), _header(content)
    if arrays is None:
        raise ValueError(f"there is no ArrayRecord {ARRAYS!r}")
    tensors = sorted(_tensors(header), key=lambda tensor: tensor[3:])
    if {name for name, *_ in tensors} != set(arrays):
        raise ValueError("the arrays are not those of the header")
    parts, at = [len(header).to_bytes(8, "little"), header], 0
    for name, dtype, shape, begin, end in tensors:
        array = arrays[name].numpy()
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")
        if array.dtype != np.dtype(dtype) or array.shape != shape:
            raise ValueError(f"{name} is {array.dtype} {array.shape}, and {dtype} {shape} in the header")
        part = array.tobytes()
        if (begin, end) != (at, at + len(part)):
            raise ValueError(f"{name} has {len(part)} bytes from {at}, in the header {begin} to {end}")
        parts.append(part)
        at = end
    path.write_bytes(b"".join(parts))


def _header(content: RecordDict) -> bytes:
    record = content.config_records.get(FILE)
    header = record.get("header") if record is not None else None
    if not isinstance(header, bytes):
        raise ValueError(f"there is no ConfigRecord {FILE!r} with a header")
    return header


def _tensors(header: bytes) -> list[tuple[str, str, tuple[int, ...], int, int]]:
    """Name, dtype and shape for numpy, begin and end of each tensor."""
    try:
        entries = json.loads(header)
        entries.pop("__metadata__", None)
        tensors = []
        for name, entry in entries.items():
            (begin, end), shape = map(int, entry["data_offsets"]), tuple(map(int, entry["shape"]))
            dtype = DTYPES.get(entry["dtype"])
            tensors.append((name, dtype or "|u1", shape if dtype else (end - begin,), begin, end))
        return tensors
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"the header is none of a safetensors file: {error}") from error
