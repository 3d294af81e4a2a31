"""Makes the golden files in this folder with PyTorch.

    python make_golden.py

Parameters and inputs are random f32 values. Results are computed in float64 and stored as f32, so
they are the true values up to one rounding.

`encoder_*.safetensors`:
    config           I64 [channels, seq_len, patch_len, d_model, n_heads, n_layers, d_ff, n_classes,
                     positions (0 learned, 1 sinusoidal), pooling (0 mean, 1 class token)]
    param/<name>     every parameter
    x_packed         [sum(lengths), channels], the valid rows, one window after the other
    lengths          I64 [batch]
    targets          I64 [batch]
    class_weights    [n_classes], ones for none
    label_smoothing  [1]
    logits           [batch, n_classes]
    loss             [1], cross-entropy, mean over the batch as PyTorch weighs it
    grad/<name>      derivative of the loss by every parameter
`attention.safetensors`: for cases `a` and `b`, all [batch, heads, seq, head_dim]:
    a/q a/k a/v a/out, and a/d_q a/d_k a/d_v for a random a/d_out
`gelu.safetensors`: x, y = gelu(x), dy_dx, all [n]
"""

import math
import sys
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2] / "interop" / "pytorch"))
from edgectl_model import EdgectlEncoder  # noqa: E402

POSITIONS = ["learned", "sinusoidal"]
POOLING = ["mean", "class-token"]


def write(name: str, tensors: dict[str, Tensor]) -> None:
    """Stores floats as f32, integers as i64."""
    stored = {
        key: (t.detach().float() if t.is_floating_point() else t).contiguous()
        for key, t in tensors.items()
    }
    for key, t in stored.items():
        assert t.isfinite().all(), f"{name}: {key} is not finite"
    path = HERE / f"{name}.safetensors"
    path.write_bytes(save(stored))
    print(f"{path.name}: {len(stored)} tensors, {path.stat().st_size} bytes")


def normal(*shape: int, generator: torch.Generator) -> Tensor:
    """Standard normal f32 values, as float64."""
    return torch.randn(*shape, generator=generator).double()


def randomize(model: EdgectlEncoder, generator: torch.Generator) -> None:
    """Gives every parameter f32 values that make its part visible in the result."""
    for name, p in model.named_parameters():
        noise = normal(*p.shape, generator=generator)
        if p.dim() == 2 and name != "pos_embed":
            value = 1.5 * noise / math.sqrt(p.shape[1])
        elif "norm" in name and name.endswith("weight"):
            value = 1.0 + 0.3 * noise
        else:
            value = 0.4 * noise
        p.data.copy_(value.float())


def encoder(
    name: str,
    seed: int,
    *,
    channels: int,
    seq_len: int,
    patch_len: int,
    d_model: int,
    n_heads: int,
    n_layers: int,
    d_ff: int,
    n_classes: int,
    positions: str,
    pooling: str,
    lengths: list[int],
    weights: list[float] | None = None,
    label_smoothing: float = 0.0,
) -> None:
    """One model, one batch, its loss and gradients."""
    g = torch.Generator().manual_seed(seed)
    sizes = [channels, seq_len, patch_len, d_model, n_heads, n_layers, d_ff, n_classes]
    model = EdgectlEncoder(
        {
            "channels": channels,
            "seq_len": seq_len,
            "patch_len": patch_len,
            "d_model": d_model,
            "n_heads": n_heads,
            "n_layers": n_layers,
            "d_ff": d_ff,
            "dropout": 0.0,
            "positions": positions,
            "pooling": pooling,
            "task": {"kind": "classification", "n_classes": n_classes},
        }
    ).double()
    randomize(model, g)
    batch = len(lengths)
    lengths = torch.tensor(lengths)
    x = normal(batch, seq_len, channels, generator=g)
    targets = torch.randint(n_classes, (batch,), generator=g)
    class_weights = torch.tensor(weights or [1.0] * n_classes, dtype=torch.float32).double()
    smoothing = torch.tensor([label_smoothing], dtype=torch.float32)

    logits = model(x, lengths)
    loss = F.cross_entropy(logits, targets, weight=class_weights, label_smoothing=smoothing.item())
    loss.backward()

    tensors = {
        "config": torch.tensor([*sizes, POSITIONS.index(positions), POOLING.index(pooling)]),
        "x_packed": torch.cat([window[:n] for window, n in zip(x, lengths)]),
        "lengths": lengths,
        "targets": targets,
        "class_weights": class_weights,
        "label_smoothing": smoothing,
        "logits": logits,
        "loss": loss.reshape(1),
    }
    for key, p in model.named_parameters():
        tensors[f"param/{key}"] = p
        tensors[f"grad/{key}"] = p.grad
    write(name, tensors)


def attention(name: str, seed: int) -> None:
    """`softmax(q·kᵀ/√head_dim)·v` and its gradients, without a mask."""
    g = torch.Generator().manual_seed(seed)
    tensors = {}
    for case, shape in {"a": (2, 2, 5, 4), "b": (1, 3, 70, 8)}.items():
        q, k, v = (normal(*shape, generator=g).requires_grad_() for _ in range(3))
        d_out = normal(*shape, generator=g)
        out = F.scaled_dot_product_attention(q, k, v)
        d_q, d_k, d_v = torch.autograd.grad(out, (q, k, v), d_out)
        found = {"q": q, "k": k, "v": v, "out": out, "d_out": d_out}
        found |= {"d_q": d_q, "d_k": d_k, "d_v": d_v}
        tensors |= {f"{case}/{key}": t for key, t in found.items()}
    write(name, tensors)


def gelu(name: str) -> None:
    """`x·Φ(x)` and `Φ(x) + x·φ(x)`, with `Φ` by erfc: `1 + erf` loses the left tail."""
    tiny = torch.tensor([1e-38, 1e-30, 1e-20, 1e-10, 1e-7, 1e-5, 1e-3])
    x = torch.cat([torch.linspace(-12.0, 12.0, 4001), torch.zeros(1), tiny, -tiny]).double()
    cdf = 0.5 * torch.special.erfc(-x / math.sqrt(2.0))
    pdf = torch.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    y, dy_dx = x * cdf, cdf + x * pdf
    torch.testing.assert_close(y, F.gelu(x), rtol=0.0, atol=1e-14)
    write(name, {"x": x, "y": y, "dy_dx": dy_dx})


def main() -> None:
    encoder(
        "encoder_mean_learned", 1,
        channels=3, seq_len=7, patch_len=1, d_model=8, n_heads=2, n_layers=2, d_ff=12, n_classes=4,
        positions="learned", pooling="mean", lengths=[7] * 5,
    )  # fmt: skip
    encoder(
        "encoder_class_token_sinusoidal", 2,
        channels=2, seq_len=10, patch_len=3, d_model=8, n_heads=2, n_layers=2, d_ff=16, n_classes=3,
        positions="sinusoidal", pooling="class-token", lengths=[10, 1, 7, 3, 4, 9],
        weights=[0.5, 1.7, 1.1], label_smoothing=0.1,
    )  # fmt: skip
    encoder(
        "encoder_mean_ragged", 3,
        channels=2, seq_len=17, patch_len=4, d_model=12, n_heads=3, n_layers=2, d_ff=20, n_classes=5,
        positions="learned", pooling="mean", lengths=[17, 1, 8, 16, 5, 13, 2],
        weights=[2.0, 0.3, 1.0, 0.7, 1.4], label_smoothing=0.1,
    )  # fmt: skip
    encoder(
        "encoder_wide", 4,
        channels=1, seq_len=24, patch_len=1, d_model=32, n_heads=4, n_layers=2, d_ff=64, n_classes=3,
        positions="learned", pooling="mean", lengths=[24] * 4,
    )  # fmt: skip
    attention("attention", 5)
    gelu("gelu")


if __name__ == "__main__":
    main()
