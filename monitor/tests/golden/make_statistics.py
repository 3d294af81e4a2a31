"""What scipy, scikit-learn, PyTorch and MAPIE say: writes statistics.json.

    python make_statistics.py       # scipy 1.17.1, scikit-learn 1.9.1, torch 2.15.0, mapie 1.6.0

All input is numbers of SplitMix64 divided by a power of two, as in make_detectors.py, so that Rust makes the same bits.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import torch
from mapie.classification import SplitConformalClassifier
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import calibration_curve

from make_detectors import words


def ks() -> list[dict]:
    """Reference and stream of few different values, so that most are tied; every window of the stream."""
    cases = []
    for seed, n, window, shift in [(1, 200, 30, 7), (2, 37, 10, 4), (3, 1000, 30, 2), (4, 5, 8, 6), (5, 64, 1, 5)]:
        random = words(seed)
        reference = [(next(random) >> 54 >> shift) / 8 for _ in range(n)]
        values = [((next(random) >> 54) + 40 * i // 16 >> shift) / 8 for i in range(window + 150)]
        found = [
            stats.ks_2samp(values[i - window : i], reference, method="exact")
            for i in range(window, len(values) + 1)
        ]
        cases.append({
            "seed": seed, "n": n, "window": window, "shift": shift,
            "statistic": [f.statistic for f in found],
            "p": [f.pvalue for f in found][::10],
        })
    return cases


def ks_p() -> list[dict]:
    """Probabilities of samples of many sizes, by samples that have these distances."""
    cases = []
    for seed, n, m in [(11, 30, 30), (12, 30, 1000), (13, 7, 12), (14, 200, 300), (15, 60, 90)]:
        random = words(seed)
        for move in (0, 200, 400):
            a = [(next(random) >> 54) / 1024 for _ in range(n)]
            b = [((next(random) >> 54) + move) / 1024 for _ in range(m)]
            found = stats.ks_2samp(a, b, method="exact")
            limit = stats.kstwobign.sf(found.statistic * np.sqrt(n * m / (n + m)))
            cases.append({"n": n, "m": m, "d": found.statistic, "exact": found.pvalue, "limit": limit})
    return cases


def logits_of(seed: int, n: int, classes: int, factor: int):
    """Logits, and targets that are mostly the largest of them."""
    random = words(seed)
    logits = np.array([[((next(random) >> 54) - 512) / 512 * factor for _ in range(classes)] for _ in range(n)])
    targets = [int(row.argmax()) if next(random) >> 54 < 700 else next(random) % classes for row in logits]
    return logits, np.array(targets)


def probabilities() -> list[dict]:
    cases = []
    for seed, n, classes, factor in [(21, 400, 3, 2), (22, 1000, 6, 8), (23, 300, 2, 1), (24, 500, 20, 16)]:
        logits, targets = logits_of(seed, n, classes, factor)
        x, y = torch.tensor(logits), torch.tensor(targets)
        log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        solver = torch.optim.LBFGS([log_t], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15,
                                   line_search_fn="strong_wolfe")

        def closure():
            solver.zero_grad()
            loss = torch.nn.functional.cross_entropy(x / log_t.exp(), y)
            loss.backward()
            return loss

        loss = solver.step(closure)
        temperature = log_t.exp().item()
        cases.append({"seed": seed, "n": n, "classes": classes, "factor": factor,
                      "temperature": temperature, "loss": closure().item(),
                      "ece": ece(logits, targets), "ece_calibrated": ece(logits / temperature, targets)})
    return cases


def ece(logits, targets) -> float:
    """By scikit-learn's reliability curve: shares of right answers and mean probabilities of bins that are not empty."""
    p = torch.softmax(torch.tensor(logits), 1).numpy()
    top, right = p.max(1), p.argmax(1) == targets
    share, mean = calibration_curve(right, top, n_bins=15, strategy="uniform")
    counts = np.histogram(top, np.linspace(0, 1, 16))[0]
    return float((counts[counts > 0] * np.abs(share - mean)).sum() / len(targets))


class Given(ClassifierMixin, BaseEstimator):
    """Probabilities as they are."""

    def fit(self, x, y):
        self.classes_ = np.arange(x.shape[1])
        return self

    def predict_proba(self, x):
        return x

    def predict(self, x):
        return x.argmax(1)


def conformal() -> dict:
    """The first half calibrates, sets are of the other."""
    logits, targets = logits_of(31, 600, 4, 3)
    p = torch.softmax(torch.tensor(logits), 1).numpy()
    levels = [0.05, 0.1, 0.2, 0.5]
    model = Given().fit(p, targets)
    mapie = SplitConformalClassifier(
        model, confidence_level=[1 - a for a in levels], conformity_score="lac", prefit=True
    )
    mapie.conformalize(p[:300], targets[:300])
    _, sets = mapie.predict_set(p[300:])
    sizes = sets.sum(1).sum(0)
    held = [float(sets[np.arange(300), targets[300:], i].mean()) for i in range(len(levels))]
    return {"levels": levels, "sizes": sizes.tolist(), "coverage": held,
            "empty": (sets.sum(1) == 0).sum(0).tolist()}


def binomial() -> list[dict]:
    pairs = [(0, 0), (1, 0), (3, 9), (10, 10), (2, 30), (40, 75), (500, 600), (1000, 30)]
    return [
        {"only_new": b, "only_old": c,
         "p": stats.binomtest(b, b + c).pvalue if b + c else 1.0,
         "p_worse": stats.binom.cdf(b, b + c, 0.5)}
        for b, c in pairs
    ]


def main() -> None:
    warnings.simplefilter("error")
    found = {"ks": ks(), "ks_p": ks_p(), "probabilities": probabilities(), "conformal": conformal(), "mcnemar": binomial()}
    text = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in found.items())
    Path(__file__).with_name("statistics.json").write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
