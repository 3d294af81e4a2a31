"""Makes the golden files in this folder with PyTorch.

    python make_golden.py

Parameters and inputs are random f32 values. Results are computed in float64 and stored as f32, so
they are the true values up to one rounding.

`encoder_*.safetensors`:
    config           I64 [channels, seq_len, patch_len, d_model, n_heads, n_layers, d_ff, n_classes,
                     positions (0 learned, 1 sinusoidal, 2 rotary, 3 alibi),
                     pooling (0 mean, 1 class token, 2 last)], and where attention is not plain
                     also [mask (0 none, 1 causal, 2 sliding window), left, right, n_kv_heads]
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
`attention_options.safetensors`: rows are tokens, with their heads side by side; for every case
    <case>/dims      I64 [seq_q, seq_kv, n_heads, n_kv_heads, head_dim]
    <case>/mask      I64 [kind (0 none, 1 causal, 2 sliding window), left, right]
    <case>/key_mask  I64 [seq_kv], 0 where a key is padding; absent if none is
    <case>/alibi     [n_heads], slopes of the linear biases; absent if there are none
    <case>/q         [seq_q, n_heads * head_dim], as are out, d_out (random) and d_q
    <case>/k         [seq_kv, n_kv_heads * head_dim], as are v, d_k and d_v
`rotary.safetensors`: for cases `a`, `b` and `c`
    <case>/dims      I64 [seq, n_heads, head_dim]
    <case>/start     I64 [1], position of the first row; absent if 0
    <case>/x         [seq, n_heads * head_dim], as are y = rotated x, d_y (random) and d_x
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
from edgectl_model import (  # noqa: E402
    POOLING,
    POSITIONS,
    EdgectlEncoder,
    alibi_slopes,
    rotary_angles,
    rotate,
)


def mask_code(mask: str | dict) -> list[int]:
    """`[kind, left, right]` as the files hold it."""
    if isinstance(mask, str):
        return [["none", "causal"].index(mask), 0, 0]
    window = mask["sliding-window"]
    return [2, window["left"], window["right"]]


def sliding(left: int, right: int) -> dict:
    """The configuration of a sliding window."""
    return {"sliding-window": {"left": left, "right": right}}


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
    attention: dict | None = None,
) -> None:
    """One model, one batch, its loss and gradients; the long `config` if `attention` is given."""
    g = torch.Generator().manual_seed(seed)
    sizes = [channels, seq_len, patch_len, d_model, n_heads, n_layers, d_ff, n_classes]
    codes = [*sizes, POSITIONS.index(positions), POOLING.index(pooling)]
    config = {
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
    if attention is not None:
        config["attention"] = attention
        mask, n_kv_heads = attention.get("mask", "none"), attention.get("n_kv_heads", n_heads)
        codes += [*mask_code(mask), n_kv_heads]
    model = EdgectlEncoder(config).double()
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
        "config": torch.tensor(codes),
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


def attention_case(
    g: torch.Generator,
    *,
    seq_q: int,
    seq_kv: int | None = None,
    n_heads: int = 2,
    n_kv_heads: int | None = None,
    head_dim: int,
    mask: str | dict = "none",
    padding: list[int] | None = None,
    alibi: bool = False,
    large: bool = False,
) -> dict[str, Tensor]:
    """Attention by its formula and its gradients by autograd; every query sees a key.

    `padding` lists the keys that are padding; `large` makes scores of up to about 1000, with keys
    in near pairs, so that probabilities are not all 0 or 1.
    """
    seq_kv, n_kv_heads = seq_kv or seq_q, n_kv_heads or n_heads
    kind, left, right = mask_code(mask)
    q = normal(seq_q, n_heads, head_dim, generator=g)
    k, v = (normal(seq_kv, n_kv_heads, head_dim, generator=g) for _ in range(2))
    d_out = normal(seq_q, n_heads, head_dim, generator=g)
    if large:
        q, k = 16.0 * q, 16.0 * k
        half = seq_kv // 2
        noise = normal(half, n_kv_heads, head_dim, generator=g) / 16.0
        k[half : 2 * half] = (k[:half] + noise).float().double()
    for t in (q, k, v):
        t.requires_grad_()

    # 1. which keys a query sees: the last query stands beside the last key
    offset = torch.arange(seq_kv) - (torch.arange(seq_q)[:, None] + seq_kv - seq_q)
    if kind == 0:
        seen = torch.ones_like(offset, dtype=torch.bool)
    elif kind == 1:
        seen = offset <= 0
    else:
        seen = (offset >= -left) & (offset <= right)
    key_mask = torch.ones(seq_kv, dtype=torch.int64)
    key_mask[padding or []] = 0
    seen = seen & (key_mask == 1)
    assert seen.any(dim=1).all()

    # 2. the formula, head by head
    slopes = torch.tensor(alibi_slopes(n_heads) if alibi else [0.0] * n_heads).double()
    heads = []
    for h in range(n_heads):
        kv_head = h // (n_heads // n_kv_heads)
        scores = q[:, h] @ k[:, kv_head].T / math.sqrt(head_dim) - slopes[h] * offset.abs()
        probs = torch.softmax(scores.masked_fill(~seen, -math.inf), dim=1)
        heads.append(probs @ v[:, kv_head])
    out = torch.stack(heads, dim=1)
    d_q, d_k, d_v = torch.autograd.grad(out, (q, k, v), d_out)

    found = {"q": q, "k": k, "v": v, "out": out, "d_out": d_out}
    found |= {"d_q": d_q, "d_k": d_k, "d_v": d_v}
    found = {key: t.flatten(1) for key, t in found.items()}
    found["dims"] = torch.tensor([seq_q, seq_kv, n_heads, n_kv_heads, head_dim])
    found["mask"] = torch.tensor([kind, left, right])
    if padding:
        found["key_mask"] = key_mask
    if alibi:
        found["alibi"] = slopes
    return found


def attention_options(name: str, seed: int) -> None:
    """Masks, padding, shared and biased heads, more or fewer keys than queries, large scores."""
    g = torch.Generator().manual_seed(seed)
    holes = [0, 5, 6, 17, 40, *range(58, 67)]
    cases = {
        "causal": {"seq_q": 70, "head_dim": 8, "mask": "causal"},
        "causal_more_keys": {"seq_q": 5, "seq_kv": 70, "head_dim": 2, "mask": "causal"},
        "sliding": {"seq_q": 90, "n_heads": 1, "head_dim": 3, "mask": sliding(7, 2)},
        "padding": {"seq_q": 67, "n_heads": 1, "head_dim": 3, "padding": holes},
        "grouped": {"seq_q": 33, "n_heads": 6, "n_kv_heads": 2, "head_dim": 4},
        "cross": {"seq_q": 20, "seq_kv": 75, "head_dim": 2},
        "alibi_causal": {"seq_q": 40, "n_heads": 4, "head_dim": 2, "mask": "causal", "alibi": True},
        "large": {"seq_q": 5, "seq_kv": 70, "n_heads": 1, "head_dim": 3, "large": True},
    }
    tensors = {}
    for case, options in cases.items():
        found = attention_case(g, **options)
        tensors |= {f"{case}/{key}": t for key, t in found.items()}
    write(name, tensors)


def rotary(name: str, seed: int) -> None:
    """Rotary positions, as products of complex numbers: first half real, second imaginary."""
    g = torch.Generator().manual_seed(seed)
    tensors = {}
    for case, (seq, n_heads, head_dim, start) in {
        "a": (11, 2, 6, 0),
        "b": (40, 3, 16, 0),
        "c": (6, 2, 8, 37),
    }.items():
        x = normal(seq, n_heads, head_dim, generator=g).requires_grad_()
        d_y = normal(seq, n_heads, head_dim, generator=g)
        pairs = torch.complex(*x.chunk(2, dim=-1))
        pos = torch.arange(start, start + seq).double()[:, None, None]
        angles = pos * 10000.0 ** (-2.0 * torch.arange(head_dim // 2).double() / head_dim)
        turned = pairs * torch.polar(torch.ones_like(angles), angles)
        y = torch.cat([turned.real, turned.imag], dim=-1)
        (d_x,) = torch.autograd.grad(y, x, d_y)
        same = rotate(x.transpose(0, 1), rotary_angles(seq, head_dim, start)).transpose(0, 1)
        torch.testing.assert_close(y, same, rtol=0.0, atol=1e-12)
        found = {"x": x, "y": y, "d_y": d_y, "d_x": d_x}
        tensors |= {f"{case}/{key}": t.flatten(1) for key, t in found.items()}
        tensors[f"{case}/dims"] = torch.tensor([seq, n_heads, head_dim])
        if start:
            tensors[f"{case}/start"] = torch.tensor([start])
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
    attention_options("attention_options", 6)
    rotary("rotary", 7)
    encoder(
        "encoder_causal_rotary_last", 8,
        channels=2, seq_len=11, patch_len=2, d_model=8, n_heads=2, n_layers=2, d_ff=12, n_classes=4,
        positions="rotary", pooling="last", lengths=[11, 1, 8, 5, 10, 3],
        attention={"mask": "causal", "n_kv_heads": 1},
    )  # fmt: skip
    encoder(
        "encoder_sliding_alibi_mean", 9,
        channels=3, seq_len=13, patch_len=1, d_model=12, n_heads=3, n_layers=2, d_ff=16, n_classes=3,
        positions="alibi", pooling="mean", lengths=[13, 2, 9, 1, 13, 6],
        weights=[0.6, 1.5, 1.0], label_smoothing=0.1, attention={"mask": sliding(3, 0)},
    )  # fmt: skip
    encoder(
        "encoder_rotary_class_token", 10,
        channels=2, seq_len=10, patch_len=3, d_model=12, n_heads=2, n_layers=2, d_ff=16, n_classes=3,
        positions="rotary", pooling="class-token", lengths=[10, 1, 7, 3, 4, 9],
        attention={"mask": "none"},
    )  # fmt: skip
    encoder(
        "encoder_grouped_learned", 11,
        channels=2, seq_len=9, patch_len=1, d_model=16, n_heads=4, n_layers=2, d_ff=20, n_classes=5,
        positions="learned", pooling="mean", lengths=[9, 4, 1, 8, 6],
        weights=[2.0, 0.3, 1.0, 0.7, 1.4], attention={"n_kv_heads": 2},
    )  # fmt: skip


if __name__ == "__main__":
    main()
