"""Writes optimizers.safetensors and schedules.safetensors beside this file, with PyTorch.

    python make_golden.py

optimizers.safetensors: for each case of CASES and each shape, `CASE/SHAPE/params` has the starting
parameters and then those after each of ten steps, `SHAPE/grads` the ten gradients. Elements take
turns in four scales: 0, 1e-20, about 1, 1e20. A case's options stand in tests/it/golden.rs as well.
The optimizers that PyTorch lacks are in FORMULAS: the formulas of their papers, here in float64 and
stored in float32. Schedule-free cases have `CASE/SHAPE/averaged` too, the weights to evaluate with.

schedules.safetensors: the factor at every step of a run, by PyTorch's schedulers, 41 values (that
of a run's end is the last) except for the 40 of `one_cycle*`, which PyTorch ends at the last step.
`plateau/factors` has the factor after each of `plateau/metrics` was seen.
"""

import math
import pathlib
import warnings

import numpy as np
import torch
from safetensors.torch import save_file
from torch.optim import lr_scheduler as sched

HERE = pathlib.Path(__file__).parent
STEPS = 10
LR = 0.01
SHAPES = {"vector": (17,), "matrix": (4, 3), "cube": (2, 3, 5)}
SCALES = (0.0, 1e-20, 1.0, 1e20)

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
NADAM, RADAM = torch.optim.NAdam, torch.optim.RAdam
ADAGRAD, RMSPROP = torch.optim.Adagrad, torch.optim.RMSprop
DECOUPLED = dict(weight_decay=0.1, decoupled_weight_decay=True)
# As a penalty, decay returns to parameters of 1e-14 what a division by eps made of it: with the
# default eps their numbers are mostly rounding, in PyTorch's own float32 too.
PENALTY = dict(weight_decay=0.1, eps=1e-2)
CASES = {
    "sgd": (SGD, {}),
    "sgd_decay": (SGD, dict(weight_decay=0.1)),
    "sgd_momentum": (SGD, dict(momentum=0.9)),
    "sgd_dampening": (SGD, dict(momentum=0.9, dampening=0.5)),
    "sgd_nesterov": (SGD, dict(momentum=0.8, nesterov=True)),
    "sgd_all": (SGD, dict(momentum=0.7, dampening=0.3, weight_decay=0.05)),
    "sgd_nesterov_decay": (SGD, dict(momentum=0.9, nesterov=True, weight_decay=0.05)),
    "adam": (ADAM, {}),
    "adam_decay": (ADAM, PENALTY),
    "adam_betas": (ADAM, dict(betas=(0.5, 0.9), eps=1e-3)),
    "adam_no_momentum": (ADAM, dict(betas=(0.0, 0.99))),
    "adamw": (ADAMW, {}),
    "adamw_no_decay": (ADAMW, dict(weight_decay=0.0)),
    "adamw_all": (ADAMW, dict(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)),
    "amsgrad": (ADAM, dict(amsgrad=True)),
    "amsgrad_falling": (ADAM, dict(amsgrad=True, betas=(0.9, 0.5))),  # the mean square falls
    "amsgrad_decay": (ADAM, dict(amsgrad=True, betas=(0.9, 0.5), **PENALTY)),
    "amsgrad_decoupled": (ADAMW, dict(amsgrad=True, betas=(0.9, 0.5), weight_decay=0.1)),
    "nadam": (NADAM, {}),
    "nadam_decay": (NADAM, PENALTY),
    "nadam_decoupled": (NADAM, DECOUPLED),
    "nadam_all": (NADAM, dict(betas=(0.8, 0.95), eps=1e-6, momentum_decay=0.01)),
    "radam": (RADAM, {}),
    "radam_decay": (RADAM, PENALTY),
    "radam_decoupled": (RADAM, DECOUPLED),
    "radam_short": (RADAM, dict(betas=(0.8, 0.9))),
    "adagrad": (ADAGRAD, {}),
    "adagrad_decay": (ADAGRAD, PENALTY),
    "adagrad_all": (ADAGRAD, dict(lr_decay=0.1, initial_accumulator_value=0.5, eps=1e-6)),
    "rmsprop": (RMSPROP, {}),
    "rmsprop_decay": (RMSPROP, PENALTY),
    "rmsprop_momentum": (RMSPROP, dict(momentum=0.9)),
    "rmsprop_centered": (RMSPROP, dict(centered=True)),
    "rmsprop_all": (
        RMSPROP,
        dict(alpha=0.9, eps=1e-6, momentum=0.7, centered=True, weight_decay=0.05),
    ),
}


# The formulas run in the type of their arguments and yield the parameters before and after each
# step. `(1 - b2) * g * g` goes left to right and `sqrt(v) / sqrt(1 - b2**t)` has two roots, so that
# float32 has room for the gradients of 1e20; for that, b2 must be at least 0.998.


def adam_uncorrected(p, grads, betas, eps):
    """https://arxiv.org/abs/1412.6980, Algorithm 1 without the two bias corrections"""
    b1, b2 = betas
    m, v = np.zeros_like(p), np.zeros_like(p)
    yield (p,)
    for g in grads:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        p = p - LR * m / (np.sqrt(v) + eps)
        yield (p,)


def yogi(p, grads, betas=(0.9, 0.999), eps=1e-3, decay=0.0, v0=0.0, corrected=False):
    """Zaheer et al. 2018, https://papers.nips.cc/paper/8186, Algorithm 2"""
    b1, b2 = betas
    m, v = np.zeros_like(p), np.full_like(p, v0)
    yield (p,)
    for t, g in enumerate(grads, 1):
        g = g + decay * p
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g * g) * g * g
        bc1, bc2 = (1 - b1**t, 1 - b2**t) if corrected else (1.0, 1.0)
        p = p - LR * (m / bc1) / (np.sqrt(v) / math.sqrt(bc2) + eps)
        yield (p,)


def lion(p, grads, betas=(0.9, 0.99), decay=0.0):
    """https://arxiv.org/abs/2302.06675, Algorithm 2"""
    b1, b2 = betas
    m = np.zeros_like(p)
    yield (p,)
    for g in grads:
        p = p - LR * (np.sign(b1 * m + (1 - b1) * g) + decay * p)
        m = b2 * m + (1 - b2) * g
        yield (p,)


def lamb(p, grads, betas=(0.9, 0.999), eps=1e-6, decay=0.01):
    """https://arxiv.org/abs/1904.00962, Algorithm 2 with the identity for phi"""
    b1, b2 = betas
    m, v = np.zeros_like(p), np.zeros_like(p)
    yield (p,)
    for t, g in enumerate(grads, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        u = m / (1 - b1**t) / (np.sqrt(v) / math.sqrt(1 - b2**t) + eps) + decay * p
        p_norm, u_norm = np.linalg.norm(p), np.linalg.norm(u)
        p = p - LR * (p_norm / u_norm if p_norm > 0 and u_norm > 0 else 1.0) * u
        yield (p,)


def schedule_free(y, grads, betas=(0.9, 0.999), eps=1e-8, decay=0.0, warmup=0, r=0.0, power=2.0):
    """AdamW of https://arxiv.org/abs/2405.15682; yields the averaged weights as well"""
    b1, b2 = betas
    z, v = y, np.zeros_like(y)
    lr_max = weights = 0.0
    yield y, y
    for t, g in enumerate(grads, 1):
        lr = LR * min(1.0, t / warmup) if warmup else LR
        lr_max = max(lr_max, lr)
        weight = t**r * lr_max**power
        weights += weight
        c = weight / weights
        v = b2 * v + (1 - b2) * g * g
        u = g / (np.sqrt(v) / math.sqrt(1 - b2**t) + eps) + decay * y
        y = (1 - c) * y + c * z + lr * (b1 * (1 - c) - 1) * u
        z = z - lr * u
        yield y, y + (1 - 1 / b1) * (z - y)


FORMULAS = {
    "yogi": (yogi, {}),
    "yogi_decay": (yogi, dict(decay=0.1)),
    "yogi_corrected": (yogi, dict(corrected=True)),
    "yogi_all": (yogi, dict(betas=(0.8, 0.998), eps=1e-2, v0=1.0)),
    "adam_uncorrected": (adam_uncorrected, dict(betas=(0.9, 0.998), eps=1e-3)),
    "lion": (lion, {}),
    "lion_decay": (lion, dict(decay=0.1)),
    "lion_betas": (lion, dict(betas=(0.95, 0.98))),
    "lamb": (lamb, {}),
    "lamb_no_decay": (lamb, dict(decay=0.0)),
    "lamb_all": (lamb, dict(betas=(0.8, 0.998), eps=1e-4, decay=0.3)),
    "schedule_free": (schedule_free, {}),
    "schedule_free_decay": (schedule_free, dict(decay=0.1)),
    "schedule_free_warmup": (schedule_free, dict(decay=0.05, warmup=4)),
}

# Improvements, short and long plateaus, improvements below the threshold (which do not count), and
# at last a rise that brings the rate to its floor.
METRICS = (
    [2.0, 1.6, 1.3, 1.1, 1.0] + [1.0, 1.02, 1.01, 0.8, 0.9, 0.85, 0.7] + [0.71] * 6
    + [0.698, 0.696, 0.694, 0.6, 0.61, 0.59, 0.62] + [0.598 + 0.01 * i for i in range(15)]
)  # fmt: skip


def run(make, options, start, grads):
    """Parameters before and after each step, stacked."""
    param = torch.nn.Parameter(start.clone())
    optimizer = make([param], lr=LR, foreach=False, **options)
    rows = [param.detach().clone()]
    for grad in grads:
        param.grad = grad.clone()
        optimizer.step()
        rows.append(param.detach().clone())
    return torch.stack(rows)


def evaluate(formula, options, start, grads, dtype):
    """What `formula` yields, each part stacked: the parameters, and for some those averaged."""
    rows = formula(start.numpy().astype(dtype), grads.numpy().astype(dtype), **options)
    return [np.stack(part) for part in zip(*rows)]


def factors(steps, make):
    """What the scheduler multiplies the rate by, at each step and at the end."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    values = []
    for _ in range(steps + 1):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor(values, dtype=torch.float64).to(torch.float32)


def plateau_factors(metrics):
    """What ReduceLROnPlateau multiplies the rate by, after each metric."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = sched.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=2, threshold=1e-2, cooldown=1, min_lr=0.05
    )
    values = []
    for metric in metrics.tolist():
        scheduler.step(metric)
        values.append(optimizer.param_groups[0]["lr"])
    return torch.tensor(values, dtype=torch.float32)


def main():
    generator = torch.Generator().manual_seed(20240607)
    tensors = {}
    worst = dict.fromkeys(FORMULAS, 0.0)
    for shape_name, shape in SHAPES.items():
        n = math.prod(shape)
        scale = torch.tensor([SCALES[i % 4] for i in range(n)]).reshape(shape)
        # Gradients keep their sign, so that no sum cancels to a number of few digits; parameters
        # of the tiny scale start at 0, where 1e-20 is visible.
        sign = torch.tensor([1.0 if (i // 4) % 2 else -1.0 for i in range(n)]).reshape(shape)
        size = torch.rand((STEPS, *shape), generator=generator) + 0.5
        grads = size * sign * scale
        start = -sign * (torch.rand(shape, generator=generator) + 0.5)
        start = torch.where(scale == 1e-20, torch.zeros(()), start)
        tensors[f"{shape_name}/grads"] = grads
        for case, (make, options) in CASES.items():
            tensors[f"{case}/{shape_name}/params"] = run(make, options, start, grads)
        for case, (formula, options) in FORMULAS.items():
            exact = evaluate(formula, options, start, grads, np.float64)
            single = evaluate(formula, options, start, grads, np.float32)
            for part, a, b in zip(("params", "averaged"), exact, single):
                tensors[f"{case}/{shape_name}/{part}"] = torch.from_numpy(a.astype(np.float32))
                off = np.maximum(np.abs(a - b) - 1e-30, 0.0) / np.maximum(np.abs(a), 1e-30)
                worst[case] = np.maximum(worst[case], off.max())  # keeps a NaN
    for name, tensor in tensors.items():
        assert not tensor.isnan().any(), name
    save_file(tensors, HERE / "optimizers.safetensors")
    # A test in float32 cannot be stricter than this.
    for case, off in worst.items():
        print(f"{case}: float32 is off by {off:.1e} at most")

    def warm_cosine(o):
        up = sched.LinearLR(o, start_factor=1 / 8, total_iters=7)
        down = sched.CosineAnnealingLR(o, T_max=32, eta_min=0.1)
        return sched.SequentialLR(o, [up, down], milestones=[8])

    def one_cycle(o, **options):
        return sched.OneCycleLR(o, 1.0, total_steps=40, cycle_momentum=False, **options)

    metrics = torch.tensor(METRICS)
    save_file(
        {
            "constant": factors(40, lambda o: sched.LambdaLR(o, lambda s: 1.0)),
            "warmup_linear": factors(
                40, lambda o: sched.LinearLR(o, start_factor=1 / 8, total_iters=7)
            ),
            "warmup_lambda": factors(
                40, lambda o: sched.LambdaLR(o, lambda s: min(1.0, (s + 1) / 8))
            ),
            "cosine": factors(40, lambda o: sched.CosineAnnealingLR(o, T_max=40)),
            "cosine_floor": factors(
                40, lambda o: sched.CosineAnnealingLR(o, T_max=40, eta_min=0.25)
            ),
            "cosine_warmup": factors(40, warm_cosine),
            "step": factors(40, lambda o: sched.StepLR(o, step_size=7, gamma=0.5)),
            "exponential_per_step": factors(40, lambda o: sched.ExponentialLR(o, gamma=0.9)),
            "exponential": factors(40, lambda o: sched.ExponentialLR(o, gamma=0.01 ** (1 / 40))),
            "cosine_restarts": factors(
                40, lambda o: sched.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=1, eta_min=0.1)
            ),
            "cosine_restarts_mult": factors(
                40, lambda o: sched.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=3)
            ),
            "polynomial": factors(40, lambda o: sched.PolynomialLR(o, total_iters=40, power=2.0)),
            "polynomial_linear": factors(
                40, lambda o: sched.PolynomialLR(o, total_iters=40, power=1.0)
            ),
            "one_cycle": factors(39, one_cycle),
            "one_cycle_linear": factors(
                39,
                lambda o: one_cycle(
                    o, anneal_strategy="linear", pct_start=0.25, div_factor=10, final_div_factor=100
                ),
            ),
            "plateau/metrics": metrics,
            "plateau/factors": plateau_factors(metrics),
        },
        HERE / "schedules.safetensors",
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # SequentialLR warns about its own use of step(epoch)
    main()
