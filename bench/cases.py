"""What is compared: models, attention shapes, and the numbers that every program computes with."""

from typing import NamedTuple

import numpy as np

N_CLASSES = 4


class Model(NamedTuple):
    """One model and batch; a token is one row (patch 1). The names are edgectl's flags."""

    batch: int
    seq: int
    channels: int
    d_model: int
    heads: int
    layers: int
    d_ff: int

    def label(self) -> str:
        return ",".join(map(str, self))


class Attention(NamedTuple):
    """One call of multi-head attention. The names are edgectl's flags."""

    batch: int
    heads: int
    seq: int
    head_dim: int

    def label(self) -> str:
        return ",".join(map(str, self))


class Optimizer(NamedTuple):
    """A step of an optimizer over so many parameters. The names are edgectl's flags."""

    name: str
    params: int

    def label(self) -> str:
        return ",".join(map(str, self))


MODELS = [
    Model(16, 24, 1, 32, 4, 2, 64),
    Model(32, 128, 6, 64, 4, 2, 128),
    Model(32, 150, 1, 64, 8, 3, 256),
    Model(16, 512, 12, 128, 8, 4, 512),
]

ATTENTIONS = [
    Attention(1, 4, 32, 16),
    Attention(1, 4, 64, 16),
    Attention(8, 4, 128, 16),
    Attention(32, 4, 64, 16),
    Attention(32, 8, 128, 32),
    Attention(8, 8, 512, 64),
    Attention(1, 8, 2048, 64),
    Attention(1, 8, 8192, 64),
]

OPTIMIZERS = ["sgd", "adam", "amsgrad", "adamw", "nadam", "radam", "adagrad", "rmsprop", "yogi"]
OPTIMIZERS += ["lion", "lamb", "schedule-free-adamw"]
SIZES = [10_000_000, 100_000]  # parameters


def weights(s: Model) -> dict[str, np.ndarray]:
    """Seeded weights under the names of an edgectl checkpoint; matrices are `[out, in]`."""
    rng = np.random.default_rng(1)

    def normal(*shape: int, std: float | None = None) -> np.ndarray:
        return (rng.standard_normal(shape) * (std or shape[-1] ** -0.5)).astype(np.float32)

    found = {"pos_embed": normal(s.seq, s.d_model, std=0.02)}

    def linear(name: str, n_in: int, n_out: int) -> None:
        found[f"{name}.weight"] = normal(n_out, n_in)
        found[f"{name}.bias"] = normal(n_out, std=0.1)

    def norm(name: str) -> None:
        found[f"{name}.weight"] = 1 + normal(s.d_model, std=0.1)
        found[f"{name}.bias"] = normal(s.d_model, std=0.1)

    linear("patch_embed.proj", s.channels, s.d_model)
    for block in (f"blocks.{i}" for i in range(s.layers)):
        norm(f"{block}.norm1")
        linear(f"{block}.attn.qkv", s.d_model, 3 * s.d_model)
        linear(f"{block}.attn.proj", s.d_model, s.d_model)
        norm(f"{block}.norm2")
        linear(f"{block}.mlp.fc1", s.d_model, s.d_ff)
        linear(f"{block}.mlp.fc2", s.d_ff, s.d_model)
    norm("norm")
    linear("head", s.d_model, N_CLASSES)
    return found


def batch(s: Model) -> tuple[np.ndarray, np.ndarray]:
    """Seeded windows `[batch, seq, channels]` and targets `[batch]`."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((s.batch, s.seq, s.channels)).astype(np.float32)
    return x, rng.integers(N_CLASSES, size=s.batch)


def tokens(s: Attention) -> list[np.ndarray]:
    """Seeded q, k, v and the gradient of the output, each `[batch, seq, heads, head_dim]`."""
    rng = np.random.default_rng(3)
    shape = (s.batch, s.seq, s.heads, s.head_dim)
    return [rng.standard_normal(shape, dtype=np.float32) for _ in range(4)]
