"""The watch data with injected changes, for scripts that ask what a model regains: rows, windows, and what changes them."""

import csv
import math
import pathlib

WINDOW, STRIDE = 100, 50
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")


def mirrored(row):
    """The watch on the other arm."""
    for channel in ("ay", "wx", "wz"):
        row[channel] = -row[channel]


def tilted(row):
    """Turned by 30 degrees about its second axis."""
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    for x, z in (("ax", "az"), ("wx", "wz")):
        row[x], row[z] = cos * row[x] + sin * row[z], cos * row[z] - sin * row[x]


SHIFTS = {"mirror": mirrored, "tilt30": tilted}


def read(data, person):
    """The rows of a person."""
    with open(pathlib.Path(data) / f"subject_{int(person):02}.csv") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for channel in CHANNELS:
            row[channel] = float(row[channel])
    return rows


def write(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return path


def shifted(rows, shift):
    rows = [dict(row) for row in rows]
    for row in rows:
        shift(row)
    return rows


def few(rows, n):
    """The first rows of every class that give so many windows, of different series where there are; classes with fewer
    give what they have."""
    by_series = {}
    for row in rows:
        by_series.setdefault((row["label"], row["series"]), []).append(row)
    by_class = {}
    for (label, _), of_series in by_series.items():
        by_class.setdefault(label, []).append(of_series)
    chosen = []
    for several in by_class.values():
        longest = max(map(len, several)) // WINDOW
        # First windows of all series, then second ones.
        parts = [(s, first * WINDOW) for first in range(longest) for s in several if len(s) >= (first + 1) * WINDOW]
        for of_series, first in parts[:n]:
            chosen += [{**row, "series": f"{row['series']}-{first}"} for row in of_series[first:first + WINDOW]]
    return chosen
