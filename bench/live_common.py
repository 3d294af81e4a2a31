"""What the scripts of `edgectl run` share: rows as lines, models of other rounds, pacing, and figures of a process."""

import csv
import json
import pathlib
import struct
import subprocess
import time

# Columns that are no channels.
OTHERS = ("series", "t", "label", "split", "node")


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def resident_kb(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def add_arguments(parser):
    """The flags of all of them."""
    parser.add_argument("--binary", default="target/release/edgectl")
    parser.add_argument("--model", required=True)


def read_table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def line_of(t, row, series="s"):
    """A row of a table as a line, its values in the digits of the file."""
    cells = ",".join(f'"{name}":{value}' for name, value in row.items() if name not in OTHERS)
    return f'{{"t":{t},"series":"{series}",{cells}}}\n'


def lines_of(data, windows, stride):
    """Rows as lines, for so many windows; a file that is short begins again."""
    table = read_table(data)
    return [line_of(t, table[t % len(table)]) for t in range((windows + 1) * stride)]


def begin(command):
    """Starts a run that is fed and read, and whose events come on stderr unless it has a folder of state."""
    pipe = subprocess.PIPE
    return subprocess.Popen([str(part) for part in command], stdin=pipe, stdout=pipe, stderr=pipe)


def feed(process, text):
    process.stdin.write(text.encode())
    process.stdin.flush()


def sleep_until(when):
    while (left := when - time.perf_counter()) > 0:
        time.sleep(left)


def with_round(model, to, number):
    """Writes a copy of a model that says it came of another round."""
    whole = pathlib.Path(model).read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8:8 + length])
    meta = json.loads(header["__metadata__"]["edgectl"])
    meta["provenance"]["round"] = number
    header["__metadata__"]["edgectl"] = json.dumps(meta)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    new = to.with_suffix(".new")
    new.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length:])
    new.rename(to)
