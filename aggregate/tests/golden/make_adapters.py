"""Golden numbers of stacked adapters: the mean of products, in float64.

    python make_adapters.py

writes adapters.safetensors beside it, to the same bytes every time (it needs numpy and safetensors).
Inputs are called CASE/NUMBER/NAME, expected products CASE/product/MODULE; weights are CASE/weights. The
metadata key "configs" holds what adapter_config.json says of an input, under CASE/NUMBER.
"""

import json
import math
import pathlib

import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(20)
tensors, configs = {}, {}


def draw(*shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


def product(up, down):
    """B·A of matrices, or of a convolution and the single pixels after it."""
    up, down = up.astype(np.float64), down.astype(np.float64)
    if up.ndim == 4:
        return np.einsum("or,rihw->oihw", up[:, :, 0, 0], down)
    return up @ down


def case(name, weights, inputs):
    """Each input: tensors by name, and module, scale, names of A and B of every pair."""
    share = np.array(weights, dtype=np.float64) / sum(weights)
    sums = {}
    for number, (values, pairs, config) in enumerate(inputs):
        for key, value in values.items():
            tensors[f"{name}/{number}/{key}"] = value
        if config is not None:
            configs[f"{name}/{number}"] = config
        for module, scale, down, up in pairs:
            term = share[number] * scale * product(values[up], values[down])
            sums[module] = sums.get(module, 0.0) + term
    for module, total in sums.items():
        tensors[f"{name}/product/{module}"] = total
    tensors[f"{name}/weights"] = np.array(weights, dtype=np.float64)


def kohya(rank, alpha, dtype=np.float32):
    values, pairs = {}, []
    for module, up, down in [
        ("lora_unet_q", (5, rank), (rank, 7)),
        ("lora_unet_conv", (4, rank, 1, 1), (rank, 3, 3, 3)),
    ]:
        names = f"{module}.lora_down.weight", f"{module}.lora_up.weight"
        values[names[0]], values[names[1]] = draw(*down, dtype=dtype), draw(*up, dtype=dtype)
        values[f"{module}.alpha"] = np.array(alpha, dtype=dtype)
        pairs.append((module, alpha / rank, *names))
    return values, pairs, None


def peft(rank, alpha, rslora=False, patterns=None, dtype=np.float32):
    values, pairs = {"base_model.model.head.bias": draw(6)}, []
    patterns = patterns or {}
    for module, out, width in [("q", 6, 5), ("v", 3, 8)]:
        module = f"base_model.model.layers.0.{module}"
        own = patterns.get(module[-1], (rank, alpha))
        names = f"{module}.lora_A.weight", f"{module}.lora_B.weight"
        values[names[0]] = draw(own[0], width, dtype=dtype)
        values[names[1]] = draw(out, own[0], dtype=dtype)
        pairs.append((module, own[1] / (math.sqrt(own[0]) if rslora else own[0]), *names))
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "use_rslora": rslora}
    config["target_modules"] = ["q", "v"]
    config["rank_pattern"] = {key: value[0] for key, value in patterns.items()}
    config["alpha_pattern"] = {key: value[1] for key, value in patterns.items()}
    return values, pairs, config


case("kohya", [3.0, 1.0, 2.0], [kohya(2, 1.0), kohya(3, 8.0), kohya(1, 0.5)])
case("half", [1.0, 1.0], [kohya(4, 2.0, np.float16), kohya(2, 2.0, np.float16)])
case("peft", [1.0, 4.0], [peft(4, 8), peft(2, 3)])
case("rslora", [2.0, 1.0, 1.0], [peft(4, 8, True), peft(4, 16), peft(9, 3, True)])
case("patterns", [1.0, 1.0], [peft(4, 8, patterns={"v": (2, 6)}), peft(3, 5, patterns={"q": (1, 2)})])
# One key: of several the order in the file is another one in every run.
save_file(
    tensors,
    pathlib.Path(__file__).with_name("adapters.safetensors"),
    {"configs": json.dumps(configs)},
)
