"""Writes optimizers.safetensors and schedules.safetensors beside this file, with PyTorch.

    python make_golden.py

optimizers.safetensors: for each case of CASES and each shape, `CASE/SHAPE/params` has the starting
parameters and then those after each of ten steps, `SHAPE/grads` the ten gradients. Elements take
turns in four scales: 0, 1e-20, about 1, 1e20. A case's options stand in tests/it/golden.rs as well.

schedules.safetensors: the factor at every step of a run, by PyTorch's schedulers.
"""

import math
import pathlib
import warnings

import torch
from safetensors.torch import save_file
from torch.optim import lr_scheduler as sched

HERE = pathlib.Path(__file__).parent
STEPS = 10
LR = 0.01
SHAPES = {"vector": (17,), "matrix": (4, 3), "cube": (2, 3, 5)}
SCALES = (0.0, 1e-20, 1.0, 1e20)

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
CASES = {
    "sgd": (SGD, {}),
    "sgd_decay": (SGD, dict(weight_decay=0.1)),
    "sgd_momentum": (SGD, dict(momentum=0.9)),
    "sgd_dampening": (SGD, dict(momentum=0.9, dampening=0.5)),
    "sgd_nesterov": (SGD, dict(momentum=0.8, nesterov=True)),
    "sgd_all": (SGD, dict(momentum=0.7, dampening=0.3, weight_decay=0.05)),
    "sgd_nesterov_decay": (SGD, dict(momentum=0.9, nesterov=True, weight_decay=0.05)),
    "adam": (ADAM, {}),
    "adam_decay": (ADAM, dict(weight_decay=0.1)),
    "adam_betas": (ADAM, dict(betas=(0.5, 0.9), eps=1e-3)),
    "adam_no_momentum": (ADAM, dict(betas=(0.0, 0.99))),
    "adamw": (ADAMW, {}),
    "adamw_no_decay": (ADAMW, dict(weight_decay=0.0)),
    "adamw_all": (ADAMW, dict(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)),
}


def run(make, options, start, grads):
    """Parameters before and after each step, stacked."""
    param = torch.nn.Parameter(start.clone())
    optimizer = make([param], lr=LR, **options)
    rows = [param.detach().clone()]
    for grad in grads:
        param.grad = grad.clone()
        optimizer.step()
        rows.append(param.detach().clone())
    return torch.stack(rows)


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


def main():
    generator = torch.Generator().manual_seed(20240607)
    tensors = {}
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
    save_file(tensors, HERE / "optimizers.safetensors")

    def warm_cosine(o):
        up = sched.LinearLR(o, start_factor=1 / 8, total_iters=7)
        down = sched.CosineAnnealingLR(o, T_max=32, eta_min=0.1)
        return sched.SequentialLR(o, [up, down], milestones=[8])

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
        },
        HERE / "schedules.safetensors",
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # SequentialLR warns about its own use of step(epoch)
    main()
