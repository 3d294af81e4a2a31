"""Writes rules.safetensors beside this file: what the rules of the crate should give, in float64.

    python aggregate/tests/golden/make_golden.py

Needs numpy and safetensors. Inputs are rounded to float32 and everything is computed from the rounded
values in float64, with the formulas of the papers and none of the crate's code. The bytes are the same
in every run.

A model has two tensors, `w` [37] and `v` [5, 7]. Norms and distances are those of the whole model.

    base/T update.I/T      F32, a base model and eleven updates; 3 and 7 are outliers
    weights                the updates' numbers of examples
    CASE/T                 the merged model
    CASE/selected          I64, the updates that krum, multi-krum and bulyan select, sorted
    CASE/max_norm CASE/radius fednova/steps fedbuff/ages q-fedavg/losses
                           numbers that a case was computed with
    slerp.0/T slerp.1/T    F32, two models far from each other, the inputs of `slerp-wide`
    server/start           F32 [33], the model before the first of ten rounds
    server/deltas          F32 [10, 33], mean update minus model, for every round
    server/CASE            [10, 33], the model after every round
    adaptive/norms         [6, 9], norms of nine updates in six rounds, all representable in float32
    adaptive/clips         [7], the clipping norm before the first round and after each one, from 0.1
    adaptive/clips_from_1  [7], the same from 1, where it goes up and down; the first norm is 1

T is `w` or `v`; what has no dtype is F64. The options of each case stand in `main` and `server_cases`.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

OUT = Path(__file__).resolve().parent / "rules.safetensors"

Array = NDArray[np.float64]

SHAPES = {"w": (37,), "v": (5, 7)}
N_W = 37
N_ALL = 37 + 5 * 7
N_UPDATES = 11
OUTLIERS = (3, 7)
WEIGHTS = np.array([30, 10, 25, 40, 5, 60, 17, 33, 8, 21, 50], dtype=np.float64)
STEPS = np.array([5, 20, 10, 40, 8, 12, 20, 7, 3, 30, 16], dtype=np.float64)
LOSSES = np.array([0.7, 1.9, 0.4, 1.1, 0.9, 0.25, 1.3, 2.4, 0.6, 1.0, 0.8], dtype=np.float64)
AGES = np.array([0, 3, 1, 0, 2, 5, 0, 0, 1, 4, 0], dtype=np.float64)


# Models are vectors here, first `w` and then `v`; several of them are the rows of a matrix.


def split(model: NDArray) -> dict[str, NDArray]:
    """The tensors of a model."""
    return {"w": model[:N_W].reshape(SHAPES["w"]), "v": model[N_W:].reshape(SHAPES["v"])}


def norms_of(rows: Array) -> Array:
    return np.sqrt((rows * rows).sum(axis=1))


def norm(vector: Array) -> float:
    return math.sqrt((vector * vector).sum())


def make_models() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The base and the updates, as they are stored."""
    # With this seed, one nearest other more or fewer in Krum's score, distances or their fourth powers
    # in place of squares, float32 inner products of the models, or scoring only once in Bulyan would
    # each change a selection.
    rng = np.random.default_rng(1237)
    base = rng.standard_normal(N_ALL).astype(np.float32)
    length = 3e-3 * norm(base.astype(np.float64))
    shared = rng.standard_normal(N_ALL)
    shared *= 0.8 * length / norm(shared)
    updates = []
    for i in range(N_UPDATES):
        noise = rng.standard_normal(N_ALL)
        noise *= 0.6 * length / norm(noise)
        delta = rng.uniform(0.7, 1.4) * (shared + noise)
        if i == 3:
            delta = -10 * shared + noise
        if i == 7:
            delta = rng.standard_normal(N_ALL) * 20 * length / math.sqrt(N_ALL)
        updates.append((base + delta).astype(np.float32))
    return base, np.stack(updates)


# Rules. They take the updates' differences from the base and return that of the result; only `slerp`
# is for models.


def weighted_mean(deltas: Array, p: Array) -> Array:
    return (p[:, None] * deltas).sum(axis=0)


def clipped(deltas: Array, max_norm: float) -> Array:
    """Each row, shortened to the norm if it is longer."""
    rows = []
    for delta in deltas:
        length = norm(delta)
        rows.append(delta * (max_norm / length) if length > max_norm else delta)
    return np.stack(rows)


def median(deltas: Array) -> Array:
    ordered = np.sort(deltas, axis=0)
    n = len(ordered)
    if n % 2 == 1:
        return ordered[n // 2]
    return (ordered[n // 2 - 1] + ordered[n // 2]) / 2


def trimmed_mean(deltas: Array, trim: float) -> Array:
    n = len(deltas)
    cut = math.floor(trim * n)
    return np.sort(deltas, axis=0)[cut:n - cut].mean(axis=0)


def krum_scores(deltas: Array, n_nearest: int) -> Array:
    """For each row, the sum of the squared distances to the nearest others."""
    scores = []
    for i in range(len(deltas)):
        others = [((deltas[i] - deltas[j]) ** 2).sum() for j in range(len(deltas)) if j != i]
        scores.append(sum(sorted(others)[:n_nearest]))
    return np.array(scores)


def krum_selection(deltas: Array, byzantine: int, keep: int) -> list[int]:
    n = len(deltas)
    assert n >= 2 * byzantine + 3
    scores = krum_scores(deltas, n - byzantine - 2)
    order = np.argsort(scores, kind="stable")  # ties to the lower index
    ordered = scores[order]
    assert ordered[keep] - ordered[keep - 1] > 1e-6 * ordered[keep], "too close to be a test"
    return sorted(int(i) for i in order[:keep])


def bulyan_selection(deltas: Array, byzantine: int) -> list[int]:
    n = len(deltas)
    assert n >= 4 * byzantine + 3
    remaining = list(range(n))
    selected = []
    while len(selected) < n - 2 * byzantine:
        n_nearest = max(1, len(remaining) - byzantine - 2)
        scores = krum_scores(deltas[remaining], n_nearest)
        best = int(np.argmin(scores))  # ties to the lower index
        # With one nearest other, the two that are closest to each other tie.
        rivals = scores[scores != scores[best]]
        assert rivals.min() - scores[best] > 1e-6 * scores[best], "too close to be a test"
        selected.append(remaining.pop(best))
    return sorted(selected)


def bulyan_mean(selected: Array, byzantine: int) -> Array:
    """Per coordinate, the mean of the values nearest the median."""
    middle = median(selected)
    keep = len(selected) - 2 * byzantine
    result = np.empty(selected.shape[1])
    for c in range(selected.shape[1]):
        values = sorted(selected[:, c], key=lambda value: (abs(value - middle[c]), value))
        result[c] = np.mean(values[:keep])
    return result


def weiszfeld_step(z: Array, deltas: Array, p: Array, nu: float) -> Array:
    pull = p / np.maximum(nu, norms_of(deltas - z))
    return (pull[:, None] * deltas).sum(axis=0) / pull.sum()


def geometric_median(deltas: Array, p: Array, nu: float) -> Array:
    z = weighted_mean(deltas, p)
    for _ in range(100_000):
        new = weiszfeld_step(z, deltas, p, nu)
        moved = norm(new - z)
        z = new
        if moved <= 1e-16:  # what is left to go is then below 1e-14
            return z
    raise AssertionError("no convergence")


def centred_clipping(deltas: Array, steps: int, radius: float | None) -> Array:
    """From the base; without a radius, it is the median distance in each step."""
    v = np.zeros(deltas.shape[1])
    for _ in range(steps):
        away = deltas - v
        r = float(np.median(norms_of(away))) if radius is None else radius
        v = v + clipped(away, r).mean(axis=0)
    return v


def buckets_of_two(deltas: Array) -> Array:
    """Unweighted means of [0, 1], [2, 3], ..., and the last row alone if it has no partner."""
    return np.stack([deltas[i:i + 2].mean(axis=0) for i in range(0, len(deltas), 2)])


def momentum_sum(tau: float, rho: float) -> float:
    """FedNova's |a| of local SGD with momentum."""
    return (tau - rho * (1 - rho**tau) / (1 - rho)) / (1 - rho)


def proximal_sum(tau: float, eta_mu: float) -> float:
    """FedNova's |a| of local SGD with a proximal term."""
    return (1 - (1 - eta_mu) ** tau) / eta_mu


def fednova(deltas: Array, p: Array, a: Array) -> Array:
    return (p * a).sum() * weighted_mean(deltas / a[:, None], p)


def fedbuff(deltas: Array, ages: Array) -> Array:
    return weighted_mean(deltas, 1 / np.sqrt(1 + ages)) / len(deltas)


def q_fedavg(deltas: Array, losses: Array, q: float, lr: float) -> Array:
    """As in https://arxiv.org/abs/1905.10497, with L = 1/lr; dw_k = L(x - x_k) is -L delta_k."""
    # No loss is beyond ten medians or below a tenth, none weighs more than the others together.
    assert (losses < 10 * np.median(losses)).all() and (losses > np.median(losses) / 10).all()
    weight = losses**q
    assert (2 * weight < weight.sum()).all()
    lipschitz = 1 / lr
    dw = -lipschitz * deltas
    h = q * losses ** (q - 1) * (dw * dw).sum(axis=1) + lipschitz * weight
    return -(weight[:, None] * dw).sum(axis=0) / h.sum()


# The mask of DARE: words of ChaCha8, whose key comes from a seed by PCG32 as in the crate rand_core.

MASK32, MASK64 = 2**32 - 1, 2**64 - 1


def rotated(word: int, n: int) -> int:
    """To the left."""
    return (word << n | word >> (32 - n)) & MASK32


def key_of(seed: int) -> list[int]:
    key = []
    state = seed
    for _ in range(8):
        state = (state * 6364136223846793005 + 11634580027462260723) & MASK64
        word = ((state >> 18 ^ state) >> 27) & MASK32
        key.append(rotated(word, 32 - (state >> 59)) if state >> 59 else word)
    return key


def chacha_block(key: list[int], counter: int, stream: int, n_rounds: int) -> list[int]:
    """Sixteen words; counter and stream have 64 bits each."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *key]
    start += [counter & MASK32, counter >> 32, stream & MASK32, stream >> 32]
    x = start.copy()

    def quarter(a: int, b: int, c: int, d: int) -> None:
        for left, right in ((16, 12), (8, 7)):
            x[a] = (x[a] + x[b]) & MASK32
            x[d] = rotated(x[d] ^ x[a], left)
            x[c] = (x[c] + x[d]) & MASK32
            x[b] = rotated(x[b] ^ x[c], right)

    for _ in range(n_rounds // 2):
        for i in range(4):
            quarter(i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return [(a + b) & MASK32 for a, b in zip(x, start)]


def dare_mask(seed: int, tensor: int, update: int, n: int, density: float) -> NDArray[np.bool_]:
    """Which entries of a tensor stay; tensors are counted in order of names."""
    first = tensor << 36
    words: list[int] = []
    for counter in range(first // 16, (first + n + 15) // 16):
        words += chacha_block(key_of(seed), counter, update, 8)
    return np.array(words[:n], dtype=np.int64) <= round(density * MASK32)


def dare(deltas: Array, p: Array, density: float, seed: int) -> Array:
    result = np.zeros(N_ALL)
    for i, delta in enumerate(deltas):
        # In order of names `v` comes first.
        v = dare_mask(seed, 0, i, N_ALL - N_W, density)
        w = dare_mask(seed, 1, i, N_W, density)
        result += p[i] * delta * np.concatenate([w, v]) / density
    return result


def ties_tensor(deltas: Array, p: Array, density: float) -> Array:
    """The merged difference of one tensor, before it is scaled."""
    n = deltas.shape[1]
    keep = math.ceil(density * n)
    trimmed = np.zeros_like(deltas)
    for row, delta in zip(trimmed, deltas):
        size = np.abs(delta.astype(np.float32))
        order = np.argsort(-size, kind="stable")
        assert size[order[keep - 1]] > size[order[keep]], "too close to be a test"
        row[order[:keep]] = delta[order[:keep]]
    elected = np.sign(weighted_mean(trimmed, p))
    result = np.zeros(n)
    for c in range(n):
        agree = (trimmed[:, c] != 0) & (np.sign(trimmed[:, c]) == elected[c])
        if agree.any():
            result[c] = (p[agree] * trimmed[agree, c]).sum() / p[agree].sum()
    return result


def ties(deltas: Array, p: Array, density: float) -> Array:
    parts = [ties_tensor(deltas[:, :N_W], p, density), ties_tensor(deltas[:, N_W:], p, density)]
    return np.concatenate(parts)


def slerp_tensor(x0: Array, x1: Array, t: float, expect_linear: bool) -> Array:
    cosine = (x0 * x1).sum() / (norm(x0) * norm(x1))
    assert (abs(cosine) > 0.9995) == expect_linear
    if abs(cosine) > 0.9995:
        return (1 - t) * x0 + t * x1
    omega = math.acos(cosine)
    return (math.sin((1 - t) * omega) * x0 + math.sin(t * omega) * x1) / math.sin(omega)


def slerp(x0: Array, x1: Array, t: float, expect_linear: bool) -> Array:
    """Of two models, tensor by tensor."""
    parts = [slerp_tensor(x0[:N_W], x1[:N_W], t, expect_linear),
             slerp_tensor(x0[N_W:], x1[N_W:], t, expect_linear)]
    return np.concatenate(parts)


# Server steps: from the model before the first round and each round's difference, the model after
# each round.


def sgd(x: Array, deltas: Array, lr: float, momentum: float, nesterov: bool) -> list[Array]:
    v = np.zeros_like(x)
    rows = []
    for delta in deltas:
        g = -delta
        v = momentum * v + g
        x = x - lr * (g + momentum * v if nesterov else v)
        rows.append(x)
    return rows


def adagrad(x: Array, deltas: Array, lr: float, tau: float) -> list[Array]:
    v = np.zeros_like(x)
    rows = []
    for delta in deltas:
        v = v + delta**2
        x = x + lr * delta / (np.sqrt(v) + tau)
        rows.append(x)
    return rows


def adam(x: Array, deltas: Array, lr: float, b1: float, b2: float, tau: float) -> list[Array]:
    """As in https://arxiv.org/abs/2003.00295, without bias correction."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    rows = []
    for delta in deltas:
        m = b1 * m + (1 - b1) * delta
        v = b2 * v + (1 - b2) * delta**2
        x = x + lr * m / (np.sqrt(v) + tau)
        rows.append(x)
    return rows


def adamw(x: Array, deltas: Array, lr: float, b1: float, b2: float, eps: float, decay: float) -> list[Array]:
    """With bias correction; without decay, it is Adam."""
    m, v = np.zeros_like(x), np.zeros_like(x)
    rows = []
    for t, delta in enumerate(deltas, 1):
        x = x * (1 - lr * decay)
        m = b1 * m + (1 - b1) * delta
        v = b2 * v + (1 - b2) * delta**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        x = x + lr * m_hat / (np.sqrt(v_hat) + eps)
        rows.append(x)
    return rows


def yogi(x: Array, deltas: Array, lr: float, b1: float, b2: float, tau: float) -> list[Array]:
    m, v = np.zeros_like(x), np.zeros_like(x)
    rows = []
    for delta in deltas:
        square = delta**2
        assert (np.abs(v - square) >= 1e-5 * square).all(), "too close to be a test"
        m = b1 * m + (1 - b1) * delta
        v = v - (1 - b2) * square * np.sign(v - square)
        x = x + lr * m / (np.sqrt(v) + tau)
        rows.append(x)
    return rows


def lion(x: Array, deltas: Array, lr: float, b1: float, b2: float, decay: float) -> list[Array]:
    m = np.zeros_like(x)
    rows = []
    for delta in deltas:
        g = -delta
        mix = b1 * m + (1 - b1) * g
        assert ((mix == 0) | (np.abs(mix) > 1e-6)).all(), "too close to be a test"
        x = x * (1 - lr * decay)
        x = x - lr * np.sign(mix)
        m = b2 * m + (1 - b2) * g
        rows.append(x)
    return rows


def feddyn(x: Array, deltas: Array, alpha: float, n_sampled: int, n_nodes: int) -> list[Array]:
    h = np.zeros_like(x)
    rows = []
    for delta in deltas:
        h = h - alpha * (n_sampled / n_nodes) * delta
        x = x + delta - h / alpha
        rows.append(x)
    return rows


def server_cases() -> dict[str, NDArray]:
    rng = np.random.default_rng(5)
    start = rng.standard_normal(33).astype(np.float32)
    deltas = (0.05 * rng.standard_normal((10, 33))).astype(np.float32)
    deltas[rng.random((10, 33)) < 0.08] = 0.0
    deltas[:, 5] = 0.0  # a coordinate that never moves
    deltas[0, 8] = 0.0  # and one that does from the second round on
    x, d = start.astype(np.float64), deltas.astype(np.float64)
    cases = {
        "sgd": sgd(x, d, lr=0.7, momentum=0.9, nesterov=False),
        "sgd-nesterov": sgd(x, d, lr=0.7, momentum=0.9, nesterov=True),
        "adagrad": adagrad(x, d, lr=0.1, tau=1e-3),
        "adam": adam(x, d, lr=0.03, b1=0.9, b2=0.99, tau=1e-3),
        "adam-corrected": adamw(x, d, lr=0.03, b1=0.9, b2=0.99, eps=1e-8, decay=0.0),
        "yogi": yogi(x, d, lr=0.03, b1=0.9, b2=0.99, tau=1e-3),
        "adamw": adamw(x, d, lr=0.03, b1=0.9, b2=0.999, eps=1e-8, decay=0.1),
        "lion": lion(x, d, lr=0.01, b1=0.9, b2=0.99, decay=0.1),
        "feddyn": feddyn(x, d, alpha=0.1, n_sampled=3, n_nodes=5),
    }
    # The first bias-corrected step of Adam has the learning rate for its size.
    np.testing.assert_allclose(cases["adam-corrected"][0], x + 0.03 * np.sign(d[0]), atol=1e-6)
    # Descent at rate 1 without momentum replaces the model.
    np.testing.assert_array_equal(sgd(x, d, lr=1.0, momentum=0.0, nesterov=False)[0], x + d[0])
    tensors: dict[str, NDArray] = {"server/start": start, "server/deltas": deltas}
    for name, rows in cases.items():
        tensors[f"server/{name}"] = np.stack(rows)
    return tensors


def adaptive_clips(norms: Array, first: float, quantile: float, rate: float) -> Array:
    """The clipping norm before the first round and after each, without noise."""
    clips = [first]
    for row in norms:
        share = (row <= clips[-1]).mean()
        clips.append(clips[-1] * math.exp(-rate * (share - quantile)))
    return np.array(clips)


def adaptive_cases() -> dict[str, NDArray]:
    rng = np.random.default_rng(4)
    norms = np.exp(0.2 * rng.standard_normal((6, 9))).astype(np.float32).astype(np.float64)
    norms[0, 0] = 1.0  # equal to the clipping norm, which counts as not above it
    clips = adaptive_clips(norms, first=0.1, quantile=0.5, rate=0.2)
    clips_from_1 = adaptive_clips(norms, first=1.0, quantile=0.5, rate=0.2)
    # All norms are above a clipping norm of 0.1, which grows by e^0.1 in every round.
    np.testing.assert_allclose(clips, 0.1 * np.exp(0.1 * np.arange(7)), rtol=1e-14)
    assert (np.diff(clips_from_1) > 0).any() and (np.diff(clips_from_1) < 0).any()
    gaps = np.abs(norms - clips_from_1[:6, None])
    assert ((gaps == 0) | (gaps > 1e-6)).all() and (gaps == 0).sum() == 1, "too close to be a test"
    return {"adaptive/norms": norms, "adaptive/clips": clips, "adaptive/clips_from_1": clips_from_1}


def check_models(base: Array, deltas: Array) -> None:
    """The updates are as far away as meant."""
    ratio = norms_of(deltas) / norm(base)
    honest = [i for i in range(N_UPDATES) if i not in OUTLIERS]
    assert ((ratio[honest] > 1.5e-3) & (ratio[honest] < 6e-3)).all()
    assert (ratio[list(OUTLIERS)] > 2e-2).all()


def check_fednova(deltas: Array, p: Array) -> None:
    """Equal steps give the mean, and |a| is the sum of what each local step contributes."""
    for tau in (1.0, 7.0):
        for a in (tau, momentum_sum(tau, 0.9), proximal_sum(tau, 0.02)):
            same = fednova(deltas, p, np.full(len(deltas), a))
            np.testing.assert_allclose(same, weighted_mean(deltas, p), rtol=1e-12, atol=1e-17)
        steps = range(1, int(tau) + 1)
        assert math.isclose(momentum_sum(tau, 0.9), sum((1 - 0.9**k) / (1 - 0.9) for k in steps))
        assert math.isclose(proximal_sum(tau, 0.02), sum((1 - 0.02) ** (k - 1) for k in steps))


def check_geometric_median(z: Array, deltas: Array, p: Array, nu: float) -> None:
    """The pulls of all updates cancel, and neither the mean nor an update has a lower objective."""

    def objective(point: Array) -> float:
        return (p * norms_of(deltas - point)).sum()

    distances = norms_of(deltas - z)
    assert distances.min() > 1000 * nu  # the smoothing has no part in it
    assert norm(weighted_mean((z - deltas) / distances[:, None], p)) < 1e-11
    assert objective(z) < objective(weighted_mean(deltas, p))
    assert all(objective(z) < objective(delta) for delta in deltas)


def main() -> None:
    base32, updates32 = make_models()
    base, models = base32.astype(np.float64), updates32.astype(np.float64)
    deltas = models - base
    p = WEIGHTS / WEIGHTS.sum()
    check_models(base, deltas)
    check_fednova(deltas, p)

    median_norm = float(np.median(norms_of(deltas)))
    max_norm = 0.75 * median_norm
    radius = 0.5 * median_norm
    nu = 1e-6

    selected = {
        "krum": krum_selection(deltas, byzantine=4, keep=1),
        "multi-krum": krum_selection(deltas, byzantine=3, keep=5),
        "bulyan": bulyan_selection(deltas, byzantine=2),
    }
    for name, indices in selected.items():
        assert not set(indices) & set(OUTLIERS), name

    middle = geometric_median(deltas, p, nu)
    check_geometric_median(middle, deltas, p, nu)
    after_8_steps = weighted_mean(deltas, p)
    for _ in range(8):
        after_8_steps = weiszfeld_step(after_8_steps, deltas, p, nu)

    def sums(of_steps: Callable[[float], float]) -> Array:
        return np.array([of_steps(tau) for tau in STEPS.tolist()])

    cases = {
        "mean": weighted_mean(deltas, p),
        "norm-clipped-mean": weighted_mean(clipped(deltas, max_norm), p),
        "norm-clipped-mean-auto": weighted_mean(clipped(deltas, median_norm), p),
        "median": median(deltas),
        "median-even": median(deltas[:10]),
        "trimmed-mean": trimmed_mean(deltas, trim=0.2),
        "trimmed-mean-even": trimmed_mean(deltas[:10], trim=0.3),
        "krum": deltas[selected["krum"][0]],
        "multi-krum": deltas[selected["multi-krum"]].mean(axis=0),
        "bulyan": bulyan_mean(deltas[selected["bulyan"]], byzantine=2),
        "geometric-median": middle,
        "geometric-median-8": after_8_steps,
        "centred-clipping": centred_clipping(deltas, steps=5, radius=radius),
        "centred-clipping-auto": centred_clipping(deltas, steps=5, radius=None),
        "bucketed-median": median(buckets_of_two(deltas)),
        "bucketed-centred-clipping": centred_clipping(buckets_of_two(deltas), steps=5, radius=radius),
        "fednova-plain": fednova(deltas, p, STEPS),
        "fednova-momentum": fednova(deltas, p, sums(lambda tau: momentum_sum(tau, rho=0.9))),
        "fednova-proximal": fednova(deltas, p, sums(lambda tau: proximal_sum(tau, eta_mu=0.02))),
        "fedbuff": fedbuff(deltas, AGES),
        "fedasync": 0.6 * (1 + 3) ** -0.5 * deltas[0],
        "q-fedavg": q_fedavg(deltas, LOSSES, q=1.0, lr=0.1),
        "q-fedavg-half": q_fedavg(deltas, LOSSES, q=0.5, lr=0.01),
        "q-fedavg-0": q_fedavg(deltas, LOSSES, q=0.0, lr=0.1),
        "dare": 0.7 * dare(deltas, p, density=0.3, seed=9),
        "ties": 0.7 * ties(deltas, p, density=0.3),
    }
    np.testing.assert_allclose(cases["q-fedavg-0"], deltas.mean(axis=0), rtol=1e-12, atol=1e-17)
    # The first words of ChaCha20 with a key of zeros, as everybody publishes them.
    assert chacha_block([0] * 8, 0, 0, 20)[:2] == [0xADE0B876, 0x903DF1A0]
    results = {name: base + delta for name, delta in cases.items()}

    wide = np.random.default_rng(2).standard_normal((2, N_ALL)).astype(np.float32)
    results["slerp"] = slerp(models[0], models[1], t=0.3, expect_linear=True)
    results["slerp-wide"] = slerp(*wide.astype(np.float64), t=0.3, expect_linear=False)

    inputs = {"base": base32, "slerp.0": wide[0], "slerp.1": wide[1]}
    for i, update in enumerate(updates32):
        inputs[f"update.{i}"] = update

    tensors: dict[str, NDArray] = {
        "weights": WEIGHTS,
        "norm-clipped-mean/max_norm": np.array([max_norm]),
        "centred-clipping/radius": np.array([radius]),
        "fednova/steps": STEPS,
        "fedbuff/ages": AGES,
        "q-fedavg/losses": LOSSES,
    }
    for name, model in (inputs | results).items():
        for tensor, values in split(model).items():
            tensors[f"{name}/{tensor}"] = np.ascontiguousarray(values)
    for name, indices in selected.items():
        tensors[f"{name}/selected"] = np.array(indices, dtype=np.int64)
    tensors |= server_cases() | adaptive_cases()
    for name, values in tensors.items():
        assert np.isfinite(values).all(), name
    OUT.write_bytes(save(tensors))


if __name__ == "__main__":
    main()
