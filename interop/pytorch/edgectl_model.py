"""The edgectl encoder in plain PyTorch, and its checkpoint file.

A pre-norm transformer encoder over windows of sensor data. The tensor names are those of timm's
vision transformer, so a `state_dict` and a checkpoint hold the same names and shapes.

    model, meta = load("global.safetensors")
    logits = model(x, lengths)                      # [batch, n_classes]
    ...train...
    save(model, "update.safetensors", meta, node="torch", examples=512)

A configuration may hold `attention`, an object whose keys are optional too:

    mask         "none" (default), "causal", or {"sliding-window": {"left": l, "right": r}}: token i
                 sees tokens i-l..=i+r; causal is every token up to and with i
    n_kv_heads   heads of keys and values, which divide n_heads; by default as many. Query head h
                 reads head h // (n_heads // n_kv_heads)
    dropout      share of attention probabilities dropped in training; 0 by default

`positions` may be, beside "learned" and "sinusoidal", two that add nothing to the tokens: "rotary"
turns queries and keys by their position (arXiv 2104.09864), "alibi" lowers scores with the distance
(arXiv 2108.12409). `pooling` "last" reads the last valid token of each window.

Shapes are written `[outer, ..., inner]`. `tokens` counts the class token where there is one, as
token 0.
"""

import json
import math
import os
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

METADATA_KEY = "edgectl"
POSITIONS = ("learned", "sinusoidal", "rotary", "alibi")
POOLING = ("mean", "class-token", "last")
ATTENTION = ("mask", "n_kv_heads", "dropout")


def sinusoids(n_positions: int, d_model: int) -> Tensor:
    """`sin(pos / 10000^(2i/d))` at even and `cos` at odd columns (arXiv 1706.03762, section 3.5).

    Returns `[n_positions, d_model]` in float64.
    """
    pos = torch.arange(n_positions, dtype=torch.float64)[:, None]
    even = torch.arange(0, d_model, 2, dtype=torch.float64)
    angle = pos * torch.exp(-math.log(10000.0) * even / d_model)
    table = torch.zeros(n_positions, d_model, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : d_model // 2]
    return table


def rotary_angles(n_positions: int, head_dim: int, start: int = 0) -> Tensor:
    """`pos * 10000^(-2j / head_dim)` for positions from `start` and `j < head_dim / 2`.

    Returns `[n_positions, head_dim / 2]` in float64.
    """
    pos = torch.arange(start, start + n_positions, dtype=torch.float64)[:, None]
    even = torch.arange(0, head_dim, 2, dtype=torch.float64)
    return pos * torch.exp(-math.log(10000.0) * even / head_dim)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turns the pairs `(x[j], x[j + head_dim/2])`, the halves of GPT-NeoX and Llama.

    `x [..., tokens, head_dim]`, `angles [tokens, head_dim/2]` in float64; returns x's shape.
    """
    cos, sin = (t.to(device=x.device, dtype=x.dtype) for t in (angles.cos(), angles.sin()))
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def alibi_slopes(n_heads: int) -> list[float]:
    """`2^(-8(h+1)/n)` for `n` heads, a power of two (arXiv 2108.12409).

    Otherwise the slopes of the power below, then every other one of its double.
    """
    power = 1 << (n_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (h + 1) / power) for h in range(power)]
    return slopes + [2.0 ** (-8.0 * (2 * i + 1) / (2 * power)) for i in range(n_heads - power)]


def mask_reach(mask: str | dict) -> tuple[int | None, int | None]:
    """How many tokens before and after itself a token sees, `None` for all of them."""
    match mask:
        case "none":
            return None, None
        case "causal":
            return None, 0
        case {"sliding-window": {"left": int(left), "right": int(right)}}:
            return left, right
    raise ValueError(f"mask must be none, causal or a sliding-window, found {mask!r}")


class PatchEmbed(nn.Module):
    """Cuts windows into patches of `patch_len` rows and projects each to one token."""

    def __init__(self, channels: int, patch_len: int, d_model: int):
        super().__init__()
        self.patch_len = patch_len
        self.proj = nn.Linear(patch_len * channels, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, seq, channels]` to `[batch, ceil(seq / patch_len), d_model]`."""
        batch, seq, channels = x.shape
        x = F.pad(x, (0, 0, 0, -seq % self.patch_len))
        return self.proj(x.reshape(batch, -1, self.patch_len * channels))


class Attention(nn.Module):
    """Multi-head self-attention: rows of `qkv` are q, then k, then v, heads contiguous in each.

    There are `n_heads` heads of q, and `n_kv_heads` each of k and v.
    """

    def __init__(self, d_model: int, n_heads: int, n_kv_heads: int, dropout: float):
        super().__init__()
        self.n_heads, self.n_kv_heads, self.dropout = n_heads, n_kv_heads, dropout
        self.qkv = nn.Linear(d_model, d_model + 2 * n_kv_heads * (d_model // n_heads))
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, mask: Tensor | None, angles: Tensor | None) -> Tensor:
        """`x [batch, tokens, d_model]` to the same shape.

        `mask`, which broadcasts to `[batch, n_heads, tokens, tokens]`, is true where a query sees a
        key, or is added to the scores. `angles [tokens, head_dim/2]` turn queries and keys.
        """
        batch, tokens, d_model = x.shape
        heads = [self.n_heads, self.n_kv_heads, self.n_kv_heads]
        qkv = self.qkv(x).view(batch, tokens, sum(heads), d_model // self.n_heads).transpose(1, 2)
        q, k, v = qkv.split(heads, dim=1)  # each [batch, its heads, tokens, head_dim]
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        if self.n_kv_heads != self.n_heads:
            k, v = (t.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1) for t in (k, v))
        dropout = self.dropout if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.proj(out.transpose(1, 2).reshape(batch, tokens, d_model))


class Mlp(nn.Module):
    """`fc2(gelu(fc1(x)))` with the exact (erf) GELU."""

    def __init__(self, d_model: int, d_ff: int):
        super().__init__()
        self.fc1 = nn.Linear(d_model, d_ff)
        self.fc2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, tokens, d_model]` to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """`x + attn(norm1(x))`, then `x + mlp(norm2(x))`; dropout at the end of both branches."""

    def __init__(self, d_model: int, d_ff: int, dropout: float, attn: Attention):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model, eps=1e-5)
        self.attn = attn
        self.norm2 = nn.LayerNorm(d_model, eps=1e-5)
        self.mlp = Mlp(d_model, d_ff)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None, angles: Tensor | None) -> Tensor:
        """`[batch, tokens, d_model]` to the same shape; `mask` and `angles` as in `Attention`."""
        x = x + self.drop(self.attn(self.norm1(x), mask, angles))
        return x + self.drop(self.mlp(self.norm2(x)))


class EdgectlEncoder(nn.Module):
    """The encoder that a checkpoint's `model` configuration describes.

    `config` is that JSON object: `channels, seq_len, patch_len, d_model, n_heads, n_layers, d_ff,
    dropout, positions ("learned" | "sinusoidal" | "rotary" | "alibi"), pooling ("mean" |
    "class-token" | "last"), task`, and, if it is not plain, `attention` (see the module).
    """

    def __init__(self, config: dict):
        super().__init__()
        if config["task"]["kind"] != "classification":
            raise ValueError(f"task must be classification, found {config['task']['kind']!r}")
        for key, known in {"positions": POSITIONS, "pooling": POOLING}.items():
            if config[key] not in known:
                raise ValueError(f"{key} must be one of {', '.join(known)}, found {config[key]!r}")
        attention = config.get("attention", {})
        if unknown := sorted(attention.keys() - set(ATTENTION)):
            raise ValueError(f"attention has keys {', '.join(ATTENTION)}, found {', '.join(unknown)}")
        self.config = config
        self.seq_len, self.patch_len = config["seq_len"], config["patch_len"]
        self.reach = mask_reach(attention.get("mask", "none"))
        d_model, n_heads = config["d_model"], config["n_heads"]
        n_kv_heads = attention.get("n_kv_heads")
        n_kv_heads = n_heads if n_kv_heads is None else n_kv_heads
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads must divide n_heads {n_heads}, found {n_kv_heads}")
        if config["positions"] == "rotary" and d_model // n_heads % 2:
            raise ValueError(f"rotary needs an even width of a head, found {d_model // n_heads}")
        class_token = config["pooling"] == "class-token"
        if class_token and self.reach[1] == 0:
            raise ValueError("a class token sees nothing under a causal mask")
        max_tokens = -(-self.seq_len // self.patch_len) + class_token

        self.patch_embed = PatchEmbed(config["channels"], self.patch_len, d_model)
        self.cls_token = nn.Parameter(torch.empty(d_model).normal_(std=0.02)) if class_token else None
        learned = config["positions"] == "learned"
        self.pos_embed = (
            nn.Parameter(torch.empty(max_tokens, d_model).normal_(std=0.02)) if learned else None
        )
        self.drop = nn.Dropout(config["dropout"])
        self.blocks = nn.ModuleList(
            Block(
                d_model,
                config["d_ff"],
                config["dropout"],
                Attention(d_model, n_heads, n_kv_heads, attention.get("dropout", 0.0)),
            )
            for _ in range(config["n_layers"])
        )
        self.norm = nn.LayerNorm(d_model, eps=1e-5)
        self.head = nn.Linear(d_model, config["task"]["n_classes"])

    def attention_mask(self, x: Tensor, valid: Tensor | None) -> Tensor | None:
        """What `Attention` takes as `mask` for tokens `x [batch, tokens, d_model]`.

        `valid [batch, tokens]`, `None` if all are.
        """
        tokens = x.shape[1]
        seen = None if valid is None else valid[:, None, None, :]
        alibi = self.config["positions"] == "alibi"
        if self.reach == (None, None) and not alibi:
            return seen
        place = torch.arange(tokens, device=x.device)
        offset = place - place[:, None]  # of the key from the query
        left, right = (tokens if n is None else min(n, tokens) for n in self.reach)
        near = (offset >= -left) & (offset <= right)
        # Padding sees itself, else a query of padding may see nothing, and its result be NaN.
        seen = near[None, None] if seen is None else near & seen | (offset == 0)
        if not alibi:
            return seen
        slopes = torch.tensor(alibi_slopes(self.config["n_heads"]), device=x.device, dtype=x.dtype)
        return torch.where(seen, -slopes[:, None, None] * offset.abs(), -math.inf)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of a batch of windows.

        `x [batch, seq, channels]` with `seq <= seq_len`; `lengths [batch]` holds the valid rows of
        each window, from 1 to `seq`, `None` if all are valid. Rows beyond a window's length do
        not matter. Returns `[batch, n_classes]`.
        """
        batch, seq, _ = x.shape
        if seq > self.seq_len:
            raise ValueError(f"windows have at most {self.seq_len} rows, found {seq}")
        valid = angles = None
        if lengths is not None:
            if lengths.min() < 1 or lengths.max() > seq:
                raise ValueError(f"lengths must be from 1 to {seq}, found {lengths.tolist()}")
            rows = torch.arange(seq, device=x.device)
            x = x.masked_fill((rows >= lengths[:, None])[:, :, None], 0.0)

        x = self.patch_embed(x)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(batch, 1, -1), x], dim=1)
        tokens = x.shape[1]
        if lengths is not None:
            n_valid = (lengths + self.patch_len - 1) // self.patch_len + (self.cls_token is not None)
            valid = torch.arange(tokens, device=x.device) < n_valid[:, None]  # [batch, tokens]
        if self.pos_embed is not None:
            x = x + self.pos_embed[:tokens]
        elif self.config["positions"] == "sinusoidal":
            x = x + sinusoids(tokens, x.shape[2]).to(device=x.device, dtype=x.dtype)
        elif self.config["positions"] == "rotary":
            angles = rotary_angles(tokens, x.shape[2] // self.config["n_heads"])
        x = self.drop(x)

        mask = self.attention_mask(x, valid)
        for block in self.blocks:
            x = block(x, mask, angles)
        x = self.norm(x)

        if self.cls_token is not None:
            pooled = x[:, 0]
        elif self.config["pooling"] == "last":
            last = -1 if valid is None else n_valid - 1
            pooled = x[torch.arange(batch, device=x.device), last]
        elif valid is None:
            pooled = x.mean(dim=1)
        else:
            pooled = (x * valid[:, :, None]).sum(dim=1) / n_valid[:, None]
        return self.head(pooled)


def load(path: str | Path) -> tuple[EdgectlEncoder, dict]:
    """Reads a checkpoint; returns the model in evaluation mode and the metadata object.

    `meta["model"]` is the configuration and `meta["classes"]` the class names in logit order.
    """
    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
        if text is None:
            raise ValueError(f"{path}: no metadata key {METADATA_KEY!r}, so not an edgectl checkpoint")
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    meta = json.loads(text)
    model = EdgectlEncoder(meta["model"])
    model.load_state_dict(tensors, strict=True)
    return model.eval(), meta


def save(
    model: EdgectlEncoder, path: str | Path, meta: dict, *, node: str, examples: int, steps: int = 0
) -> None:
    """Writes an update under the same names and metadata key, whole or not at all.

    `meta` is what `load` gave, `node` this node's name, `examples` the number of training windows,
    by which `edgectl aggregate` weighs updates, and `steps` the optimizer steps since `load`. The
    update names no base, so `aggregate` cannot check that it started from the right global model.
    """
    provenance = {
        "node": node,
        "round": meta["provenance"]["round"],
        "examples": examples,
        "local_steps": steps,
    }
    meta = {**meta, "model": model.config, "provenance": provenance}
    path = Path(path)
    tensors = {
        name: value.detach().to("cpu", torch.float32).contiguous()
        for name, value in model.state_dict().items()
    }
    text = json.dumps(meta, ensure_ascii=False, separators=(",", ":"))
    content = safetensors.torch.save(tensors, metadata={METADATA_KEY: text})
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
