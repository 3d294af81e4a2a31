"""Makes rate.json: what scipy and numpy make of a series by the steps that change the rate.

Run from this folder: python make_rate.py
"""

import json

import numpy as np
import scipy
from scipy import signal

rng = np.random.default_rng(13)


def series(n):
    t = np.arange(n) / 50.0
    first = 20.0 + np.sin(2 * np.pi * 1.3 * t) + 0.4 * np.sin(2 * np.pi * 17.0 * t)
    second = 1000.0 - 30.0 * t + rng.normal(size=n)
    return np.stack([first, second], axis=1)


def listed(x):
    return [float(v) for v in np.asarray(x).ravel()]


x = series(203)
short = x[:3]

decimated = {}
for q in [2, 3, 4, 7, 12]:
    sos = signal.cheby1(8, 0.05, 0.8 / q, output="sos")
    zi = signal.sosfilt_zi(sos)[:, :, None] * x[0]
    y, _ = signal.sosfilt(sos, x, axis=0, zi=zi)
    # The steady start is scipy's decimate of what is above the first value.
    above = signal.decimate(x - x[0], q, axis=0, zero_phase=False)
    assert np.allclose(y[::q], above + 10 ** (-0.05 / 20) * x[0], rtol=1e-9, atol=0)
    decimated[str(q)] = listed(y[::q])


def poly(values, up, down):
    return listed(signal.resample_poly(values, up, down, axis=0, padtype="edge"))


ratios = [(3, 2), (2, 3), (1, 4), (2, 1), (7, 5), (6, 4), (160, 441), (1, 30)]
resampled = {f"{up}/{down}": poly(x, up, down) for up, down in ratios}
resampled_short = {f"{up}/{down}": poly(short, up, down) for up, down in ratios}

times = 100.0 + np.cumsum(rng.exponential(0.02, size=len(x)))
rate_hz = 33.0
grid = times[0] + np.arange(int((times[-1] - times[0]) * rate_hz) + 1) / rate_hz
linear = np.stack([np.interp(grid, times, x[:, c]) for c in range(2)], axis=1)
hold = x[np.searchsorted(times, grid, side="right") - 1]

centred = x - np.mean(x, axis=0)
low, high = np.quantile(x[:150], [0.05, 0.9], axis=0)

golden = {
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__},
    "x": listed(x),
    "decimate": decimated,
    "resample": resampled,
    "resample_short": resampled_short,
    "times": listed(times),
    "grid_rate_hz": rate_hz,
    "grid_times": listed(grid),
    "grid_linear": listed(linear),
    "grid_hold": listed(hold),
    "difference": {str(n): listed(np.diff(x, n=n, axis=0)) for n in [1, 2, 3]},
    "centred": listed(centred),
    "log1p": listed(np.sign(centred) * np.log1p(np.abs(centred))),
    "clip": listed(np.clip(x, low, high)),
}

with open("rate.json", "w") as f:
    json.dump(golden, f, indent=None, separators=(",", ":"))
    f.write("\n")
