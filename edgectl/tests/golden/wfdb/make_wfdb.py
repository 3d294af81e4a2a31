"""Writes the WFDB records of this folder, and what the package wfdb reads from them.

    python make_wfdb.py FOLDER_WITH_MITBIH

Made with wfdb 4.3.1 and numpy 2. `excerpt` is the start of record 100 of the MIT-BIH Arrhythmia
Database (PhysioNet mitdb 1.0.0, Open Data Commons Attribution 1.0), averaged in fours to 90 Hz.
The others are made up: two signals in format 16, one of which has missing samples, and formats 212, 61
and 80 of several signals.
"""

import sys

import numpy as np
import wfdb

N = 451  # odd, so that format 212 ends in half a pair


def expect(name):
    record = wfdb.rdrecord(name)
    table = np.column_stack([record.p_signal])
    header = ",".join(record.sig_name)
    rows = [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in table]
    with open(f"{name}.csv", "w") as out:
        out.write("\n".join([header, *rows]) + "\n")


def excerpt(folder):
    record = wfdb.rdrecord(f"{folder}/100", sampto=N, physical=False)
    wfdb.wrsamp("excerpt", fs=90, units=["mV"], sig_name=["MLII"], d_signal=record.d_signal, fmt=["212"],
                adc_gain=record.adc_gain, baseline=record.baseline, comments=record.comments)
    marks = wfdb.rdann(f"{folder}/100", "atr", sampto=N - 1)
    wfdb.wrann("excerpt", "atr", marks.sample, symbol=marks.symbol, aux_note=marks.aux_note)
    expect("excerpt")
    marks = wfdb.rdann("excerpt", "atr")
    with open("excerpt.beats.csv", "w") as out:
        out.write("sample,symbol\n")
        out.writelines(f"{s},{c}\n" for s, c in zip(marks.sample, marks.symbol))


def made_up():
    t = np.arange(25)
    a = (100 * np.sin(t / 3)).astype(int)
    b = (t * 37 % 91) - 45
    for name, fmt, missing in [("two16", "16", -32768), ("two212", "212", -2048), ("two80", "80", -128)]:
        both = np.column_stack([a, b])
        both[[3, 4], 0] = missing
        wfdb.wrsamp(name, fs=12.5, units=["mV", "mmHg"], sig_name=["a", "b c"], d_signal=both, fmt=[fmt, fmt],
                    adc_gain=[200, 0.5], baseline=[7, -3])
        expect(name)
    # The package reads these formats but does not write them.
    both = np.column_stack([a, b])
    write_other("two61", "61", both, both.astype(">i2"))
    write_other("two8", "8", both, np.diff(both, axis=0, prepend=0).astype("i1"))


def write_other(name, fmt, both, stored):
    stored.tofile(f"{name}.dat")
    with open(f"{name}.hea", "w") as out:
        out.write(f"{name} 2 12.5 {len(both)}\n")
        for signal, label, gain in [(0, "a", "200(7)/mV"), (1, "b c", "0.5(-3)/mmHg")]:
            initial = 0 if fmt == "8" else both[0, signal]
            checksum = int(both[:, signal].sum()) % 65536
            out.write(f"{name}.dat {fmt} {gain} 12 0 {initial} {checksum} 0 {label}\n")
    expect(name)


excerpt(sys.argv[1])
made_up()
