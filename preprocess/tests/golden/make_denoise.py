"""What scipy, pandas, numpy and PyWavelets make of a short noisy series: tests/golden/denoise.json.

Run: python make_denoise.py   (numpy, scipy, pandas, PyWavelets)
Series are [rows][channels]; each case is a step as in a configuration file, and what it must give.
"""

import json
import math
import platform
from pathlib import Path

import numpy as np
import pandas as pd
import pywt
import scipy
from scipy import ndimage, signal

RATE = 50.0
rng = np.random.default_rng(13)


def series(n):
    t = np.arange(n)[:, None] / RATE
    x = 5 + np.sin(2 * np.pi * t * [1.5, 0.7]) + 0.4 * np.cos(2 * np.pi * t * [17.0, 9.0])
    x += 0.3 * rng.standard_normal((n, 2))
    x[rng.integers(0, n, n // 12), rng.integers(0, 2, n // 12)] += 6
    return np.round(x, 4)


SERIES = {"odd": series(101), "even": series(64), "short": series(8), "tiny": series(2), "one": series(1)}
cases = []


def case(config, on, make):
    for name in on:
        cases.append({"config": config, "series": name, "out": make(SERIES[name])})


# Averages.
for n in (1, 4, 7):
    case({"step": "moving-average", "len": n}, ["odd", "tiny"],
         lambda x: pd.DataFrame(x).rolling(n, min_periods=1).mean().to_numpy())
case({"step": "exponential", "alpha": 0.3}, ["odd", "one"],
     lambda x: pd.DataFrame(x).ewm(alpha=0.3, adjust=False, ignore_na=True).mean().to_numpy())
case({"step": "exponential", "time_constant_s": 0.1}, ["odd"],
     lambda x: pd.DataFrame(x).ewm(alpha=1 - math.exp(-1 / (RATE * 0.1)), adjust=False).mean().to_numpy())

# Medians.


def hampel(x, n, sigmas):
    pad = np.pad(x, [(n // 2, n // 2), (0, 0)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(pad, n, axis=0)
    median = np.median(windows, axis=-1)
    mad = np.median(np.abs(windows - median[..., None]), axis=-1)
    return np.where(np.abs(x - median) > sigmas * 1.4826 * mad, median, x)


for n in (3, 5, 9, 11, 13, 31):
    case({"step": "median", "len": n}, ["odd", "short"] if n in (5, 13) else ["odd"],
         lambda x: ndimage.median_filter(x, size=(n, 1), mode="nearest"))
for n, sigmas in ((5, 3.0), (7, 1.0), (11, 2.0), (15, 1.5)):
    case({"step": "hampel", "len": n, "n_sigmas": sigmas}, ["odd", "short"] if n == 7 else ["odd"],
         lambda x: hampel(x, n, sigmas))

# Polynomials.
for n, order, deriv in ((5, 2, 0), (11, 3, 0), (11, 4, 1), (21, 5, 2), (9, 0, 0)):
    case({"step": "savitzky-golay", "len": n, "order": order, "deriv": deriv}, ["odd", "even"][:1 + (n == 11)],
         lambda x: signal.savgol_filter(x, n, order, deriv=deriv, axis=0, mode="interp"))
case({"step": "savitzky-golay", "len": 3, "order": 1, "deriv": 0}, ["short"],
     lambda x: signal.savgol_filter(x, 3, 1, axis=0, mode="interp"))


def one_fit(x, order):
    t = np.arange(len(x))
    return np.stack([np.polyval(np.polyfit(t, c, min(order, len(x) - 1)), t) for c in x.T], axis=1)


case({"step": "savitzky-golay", "len": 11, "order": 3, "deriv": 0}, ["short", "tiny", "one"],
     lambda x: one_fit(x, 3))


# Recursive filters.
def causal(sos, x):
    zi = signal.sosfilt_zi(sos)
    return np.stack([signal.sosfilt(sos, c, zi=zi * c[0])[0] for c in x.T], axis=1)


def both_ways(sos, x):
    ntaps = 2 * len(sos) + 1 - min((sos[:, 2] == 0).sum(), (sos[:, 5] == 0).sum())
    return signal.sosfiltfilt(sos, x, axis=0, padlen=min(3 * ntaps, len(x) - 1))


BANDS = {"low-pass": "lowpass", "high-pass": "highpass", "band-pass": "bandpass"}
for band, order, cutoff in (("low-pass", 4, [5.0]), ("low-pass", 1, [2.0]), ("low-pass", 3, [10.0]),
                            ("high-pass", 2, [0.5]), ("high-pass", 5, [3.0]), ("band-pass", 2, [1.0, 8.0]),
                            ("band-pass", 3, [0.5, 12.0])):
    sos = signal.butter(order, cutoff if len(cutoff) == 2 else cutoff[0], BANDS[band], fs=RATE, output="sos")
    config = {"step": "butterworth", "band": band, "order": order, "cutoff_hz": cutoff}
    case(config, ["odd", "one"] if order == 4 else ["odd"], lambda x: causal(sos, x))
    case(config | {"zero_phase": True}, ["odd", "short", "one"] if order == 3 else ["odd"],
         lambda x: both_ways(sos, x))
for freq, q in ((12.0, 30.0), (3.0, 2.0)):
    sos = signal.tf2sos(*signal.iirnotch(freq, q, fs=RATE))
    config = {"step": "notch", "freq_hz": freq, "q": q}
    case(config, ["odd"], lambda x: causal(sos, x))
    case(config | {"zero_phase": True}, ["odd"], lambda x: both_ways(sos, x))


# Wavelets.
def shrink(c, wavelet, level, mode):
    level = min(level, pywt.dwt_max_level(len(c), pywt.Wavelet(wavelet).dec_len))
    if level == 0:
        return c
    smooth, *details = pywt.wavedec(c, wavelet, mode="symmetric", level=level)
    sigma = np.median(np.abs(details[-1])) / 0.6745
    limit = sigma * math.sqrt(2 * math.log(len(c)))
    details = [pywt.threshold(d, limit, mode) for d in details]
    return pywt.waverec([smooth, *details], wavelet, mode="symmetric")[: len(c)]


for wavelet, level, mode, on in (("haar", 3, "soft", ["odd", "short", "one"]), ("haar", 2, "hard", ["even"]),
                                 ("db4", 3, "soft", ["odd", "even"]), ("db4", 2, "hard", ["odd"]),
                                 ("db4", 6, "soft", ["even", "short"])):
    case({"step": "wavelet", "wavelet": wavelet, "level": level, "threshold": mode}, on,
         lambda x: np.stack([shrink(c, wavelet, level, mode) for c in x.T], axis=1))

# Coefficients: cut-offs are shares of the rate.
sections = []
for order in range(1, 13):
    for share in (0.003, 0.1, 0.37):
        for band in ("low-pass", "high-pass"):
            sos = signal.butter(order, share, BANDS[band], fs=1.0, output="sos")
            sections.append({"band": band, "order": order, "cutoff_hz": [share], "sos": sos})
for order in (1, 2, 3, 4, 7, 8):
    for low, high in ((0.01, 0.03), (0.05, 0.42)):
        sos = signal.butter(order, [low, high], "bandpass", fs=1.0, output="sos")
        sections.append({"band": "band-pass", "order": order, "cutoff_hz": [low, high], "sos": sos})
for share in (1e-6, 1e-5, 0.499, 0.4999):
    for band in ("low-pass", "high-pass"):
        sos = signal.butter(8, share, BANDS[band], fs=1.0, output="sos")
        sections.append({"band": band, "order": 8, "cutoff_hz": [share], "sos": sos})
chebyshev = [
    {"order": order, "ripple_db": ripple, "cutoff_hz": cutoff,
     "sos": signal.cheby1(order, ripple, cutoff, fs=1.0, output="sos")}
    for order, ripple, cutoff in [(8, 0.05, 0.4 / q) for q in range(2, 14)] + [(5, 1.0, 0.2), (1, 0.5, 0.1)]
]
for entry in (*sections, *chebyshev):
    entry["zi"] = signal.sosfilt_zi(entry["sos"])


def plain(value):
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return float(f"{value:.14g}") if isinstance(value, float) else value


def lists(value):
    """Coefficients keep all their digits: they are compared more closely."""
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in value.items()}


golden = {
    "versions": {"python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__,
                 "pandas": pd.__version__, "pywt": pywt.__version__},
    "rate_hz": RATE,
    "series": plain(SERIES),
    "cases": plain(cases),
    "butterworth": [lists(entry) for entry in sections],
    "chebyshev": [lists(entry) for entry in chebyshev],
}
path = Path(__file__).with_name("denoise.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
print(path, path.stat().st_size, len(cases))
