"""Golden values of the steps that reduce: PCA, random projection, spectra and pictures.

    python make_reduce.py        # writes reduce.json beside this script
"""

import json
import math
import pathlib

import numpy as np
import scipy
import scipy.signal
import sklearn
from sklearn.decomposition import PCA

rng = np.random.default_rng(13)


def flat(values):
    return np.asarray(values, dtype=np.float64).ravel().tolist()


def pca_cases():
    mix = rng.normal(size=(5, 5))
    rows = rng.normal(size=(61, 5)) * [5.0, 3.0, 1.0, 0.5, 0.1] @ mix + [0, 10, -1000, 1e5, 5411237.0]
    cases = []
    for components, whiten in [(3, False), (3, True), (5, False), (5, True), (1, False)]:
        pca = PCA(n_components=components, whiten=whiten, svd_solver="full").fit(rows)
        cases.append({
            "components": components,
            "whiten": whiten,
            "mean": flat(pca.mean_),
            "directions": flat(pca.components_),
            "explained_variance": flat(pca.explained_variance_),
            "ratio": flat(pca.explained_variance_ratio_),
            "out": flat(pca.transform(rows)),
        })
    return {"rows": flat(rows), "channels": 5, "cases": cases}


def split_mix(seed):
    mask = (1 << 64) - 1
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & mask
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        yield ((z ^ (z >> 31)) >> 11) / (1 << 53)


def polar_normals(uniforms):
    while True:
        u, v = 2 * next(uniforms) - 1, 2 * next(uniforms) - 1
        s = u * u + v * v
        if 0 < s < 1:
            factor = math.sqrt(-2 * math.log(s) / s)
            yield u * factor
            yield v * factor


def projection_cases():
    rows = rng.normal(size=(9, 7)) + 3.0
    cases = []
    for components, seed in [(3, 0), (7, 12345678901234567890), (1, 7)]:
        normals = polar_normals(split_mix(seed))
        weights = np.array([next(normals) for _ in range(components * 7)]).reshape(components, 7)
        out = rows @ (weights / math.sqrt(components)).T
        cases.append({"components": components, "seed": seed, "out": flat(out)})
    return {"rows": flat(rows), "channels": 7, "cases": cases}


def spectrum_cases():
    rate = 128.0
    time = np.arange(211) / rate
    wave = 2 * np.sin(2 * np.pi * 10 * time) + 0.5 * np.sin(2 * np.pi * 33.3 * time)
    rows = np.stack([wave + 0.3 * rng.normal(size=211), 1.5 + rng.normal(size=211)], axis=1)

    def scipy_spectrogram(length, hop, window, mode):
        frequencies, times, found = scipy.signal.spectrogram(
            rows, rate, window=window, nperseg=length, noverlap=length - hop,
            detrend=False, scaling="density", mode=mode, axis=0)
        # [bins, channels, frames] to [frames, channels, bins]
        return frequencies, times, found.transpose(2, 1, 0)

    spectrograms = []
    for length, hop, window, scale in [
        (32, 16, "hann", "power"), (32, 32, "hann", "log"), (37, 11, "blackman", "power"),
        (37, 37, "hamming", "magnitude"), (64, 40, "boxcar", "magnitude"), (211, 1, "hann", "log"),
    ]:
        mode = "magnitude" if scale == "magnitude" else "psd"
        frequencies, times, found = scipy_spectrogram(length, hop, window, mode)
        if scale == "log":
            found = 10 * np.log10(found)
        spectrograms.append({
            "len": length, "hop": hop, "window": window, "scale": scale,
            "frequencies": flat(frequencies), "times": flat(times), "out": flat(found)})
    bands = []
    for length, hop, window, log, bands_hz in [
        (64, 16, "hann", True, [[0.5, 4], [4, 8], [8, 13], [13, 30], [30, 64]]),
        (50, 25, "hamming", False, [[0, 10], [5, 40]]),
    ]:
        f, _, found = scipy_spectrogram(length, hop, window, "psd")
        power = np.stack(
            [found[:, :, (f >= low) & ((f < high) | (high == rate / 2))].sum(axis=-1) * (f[1] - f[0])
             for low, high in bands_hz], axis=-1)
        out = 10 * np.log10(power) if log else power
        bands.append({"len": length, "hop": hop, "window": window, "log": log,
                      "bands_hz": bands_hz, "out": flat(out)})
    return {"rate_hz": rate, "rows": flat(rows), "channels": 2,
            "spectrograms": spectrograms, "bands": bands}


def area(picture, to_height, to_width):
    """By definition: pixels repeated until boxes have whole numbers of them."""
    height, width = picture.shape[:2]
    fine = picture.repeat(to_height, axis=0).repeat(to_width, axis=1)
    return fine.reshape(to_height, height, to_width, width, -1).mean(axis=(1, 3))


def picture_cases():
    height, width = 9, 14
    frames = rng.integers(0, 256, size=(2, height, width, 3)).astype(np.float64)
    sizes = [(9, 14), (3, 7), (4, 5), (8, 13), (1, 1), (9, 3)]
    resized = [{"to_height": h, "to_width": w, "out": flat([area(f, h, w) for f in frames])}
               for h, w in sizes]
    return {"height": height, "width": width, "frames": flat(frames), "resized": resized,
            "grey": flat(frames @ [0.299, 0.587, 0.114]),
            "crop": {"top": 2, "left": 3, "to_height": 5, "to_width": 4,
                     "out": flat(frames[:, 2:7, 3:7])}}


def background_cases():
    rows = rng.normal(size=(80, 2)).cumsum(axis=0) + [100, -3]
    cases = []
    for rate in [0.05, 0.5, 1.0]:
        b, a = [rate], [1, rate - 1]
        background, _ = scipy.signal.lfilter(b, a, rows, axis=0, zi=(1 - rate) * rows[:1])
        before = np.concatenate([rows[:1], background[:-1]])
        cases.append({"rate": rate, "out": flat(rows - before)})
    return {"rows": flat(rows), "channels": 2, "cases": cases,
            "difference": flat(np.diff(rows, axis=0, prepend=rows[:1]))}


golden = {
    "versions": {"numpy": np.__version__, "scipy": scipy.__version__, "sklearn": sklearn.__version__},
    "pca": pca_cases(),
    "random_projection": projection_cases(),
    "spectrum": spectrum_cases(),
    "picture": picture_cases(),
    "background": background_cases(),
}
path = pathlib.Path(__file__).with_name("reduce.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
