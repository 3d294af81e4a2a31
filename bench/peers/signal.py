"""SciPy, scikit-learn and numpy at the steps of preprocessing, each in the memory order that suits it."""

import time
from collections.abc import Callable

import numpy as np
from scipy import ndimage, signal
from sklearn.decomposition import PCA

RATE_HZ = 100.0


def prepare(case: dict) -> tuple[Callable[[], object], list[float]]:
    rows = np.fromfile(case["data"]).reshape(-1, case["channels"])
    step, axis = fastest([make(case["step"], rows, axis) for axis in (0, 1)])
    out = step()
    out = out if axis == 0 else out.T
    middle = len(out) // 2
    some = out[middle:].ravel()[:64]
    # The sign of a direction is anyone's choice.
    return step, (np.abs(some) if case["step"] == "fitted-pca" else some).tolist()


def make(step: str, rows: np.ndarray, axis: int) -> tuple[Callable[[], np.ndarray], int]:
    """The step over `[rows, channels]`, or over a copy that lies channel by channel; the axis of time."""
    x = np.ascontiguousarray(rows if axis == 0 else rows.T)
    match step:
        case "butterworth":
            sos = signal.butter(4, 5.0, output="sos", fs=RATE_HZ)
            return lambda: signal.sosfilt(sos, x, axis=axis), axis
        case "median":
            out, size = np.empty_like(x), (5, 1) if axis == 0 else (1, 5)
            return lambda: ndimage.median_filter(x, size=size, mode="nearest", output=out), axis
        case "savitzky-golay":
            return lambda: signal.savgol_filter(x, 11, 3, axis=axis), axis
        case "decimate":
            return lambda: signal.decimate(x, 4, axis=axis, zero_phase=False), axis
        case "z-score":
            mean, std = x.mean(axis, keepdims=True), x.std(axis, keepdims=True)
            return lambda out=np.empty_like(x): scaled(x, mean, std, out), axis
        case "fitted-z-score":
            return lambda out=np.empty_like(x): scaled(
                x, x.mean(axis, keepdims=True), x.std(axis, keepdims=True), out
            ), axis
        case "fitted-pca":
            # scikit-learn takes samples in rows; both memory orders are tried.
            own = rows if axis == 0 else np.asfortranarray(rows)
            return lambda: PCA(8).fit_transform(own), 0
    raise ValueError(step)


def scaled(x: np.ndarray, mean: np.ndarray, std: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`(x − mean)/std` into memory that is there."""
    np.subtract(x, mean, out=out)
    return np.divide(out, std, out=out)


def fastest(made: list[tuple[Callable[[], np.ndarray], int]]) -> tuple[Callable, int]:
    def seconds(one: tuple[Callable, int]) -> float:
        one[0]()
        times = []
        for _ in range(3):
            start = time.perf_counter()
            one[0]()
            times.append(time.perf_counter() - start)
        return min(times)

    return min(made, key=seconds)
