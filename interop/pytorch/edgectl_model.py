"""The edgectl encoder in plain PyTorch, and its checkpoint file.

A pre-norm transformer encoder over windows of sensor data. The tensor names are those of timm's
vision transformer, so a `state_dict` and a checkpoint hold the same names and shapes.

    model, meta = load("global.safetensors")
    logits = model(x, lengths)                      # [batch, n_classes]
    ...train...
    save(model, "update.safetensors", meta, node="torch", examples=512)

Shapes are written `[outer, ..., inner]`. `tokens` counts the class token where there is one.
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
    """Multi-head self-attention: rows of `qkv` are q, then k, then v, heads contiguous in each."""

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.proj = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, key_mask: Tensor | None) -> Tensor:
        """`x [batch, tokens, d_model]`; `key_mask [batch, 1, 1, tokens]`, true where a key is valid."""
        batch, tokens, d_model = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.n_heads, d_model // self.n_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each [batch, n_heads, tokens, head_dim]
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=key_mask)
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

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model, eps=1e-5)
        self.attn = Attention(d_model, n_heads)
        self.norm2 = nn.LayerNorm(d_model, eps=1e-5)
        self.mlp = Mlp(d_model, d_ff)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, key_mask: Tensor | None) -> Tensor:
        """`[batch, tokens, d_model]` to the same shape."""
        x = x + self.drop(self.attn(self.norm1(x), key_mask))
        return x + self.drop(self.mlp(self.norm2(x)))


class EdgectlEncoder(nn.Module):
    """The encoder that a checkpoint's `model` configuration describes.

    `config` is that JSON object: `channels, seq_len, patch_len, d_model, n_heads, n_layers, d_ff,
    dropout, positions ("learned" | "sinusoidal"), pooling ("mean" | "class-token"), task`.
    """

    def __init__(self, config: dict):
        super().__init__()
        if config["task"]["kind"] != "classification":
            raise ValueError(f"task must be classification, found {config['task']['kind']!r}")
        if config["positions"] not in ("learned", "sinusoidal"):
            raise ValueError(f"positions must be learned or sinusoidal, found {config['positions']!r}")
        if config["pooling"] not in ("mean", "class-token"):
            raise ValueError(f"pooling must be mean or class-token, found {config['pooling']!r}")
        self.config = config
        self.seq_len, self.patch_len = config["seq_len"], config["patch_len"]
        d_model = config["d_model"]
        class_token = config["pooling"] == "class-token"
        max_tokens = -(-self.seq_len // self.patch_len) + class_token

        self.patch_embed = PatchEmbed(config["channels"], self.patch_len, d_model)
        self.cls_token = nn.Parameter(torch.empty(d_model).normal_(std=0.02)) if class_token else None
        learned = config["positions"] == "learned"
        self.pos_embed = (
            nn.Parameter(torch.empty(max_tokens, d_model).normal_(std=0.02)) if learned else None
        )
        self.drop = nn.Dropout(config["dropout"])
        self.blocks = nn.ModuleList(
            Block(d_model, config["n_heads"], config["d_ff"], config["dropout"])
            for _ in range(config["n_layers"])
        )
        self.norm = nn.LayerNorm(d_model, eps=1e-5)
        self.head = nn.Linear(d_model, config["task"]["n_classes"])

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits of a batch of windows.

        `x [batch, seq, channels]` with `seq <= seq_len`; `lengths [batch]` holds the valid rows of
        each window, from 1 to `seq`, `None` if all are valid. Rows beyond a window's length do
        not matter. Returns `[batch, n_classes]`.
        """
        batch, seq, _ = x.shape
        if seq > self.seq_len:
            raise ValueError(f"windows have at most {self.seq_len} rows, found {seq}")
        valid = key_mask = None
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
            key_mask = valid[:, None, None, :]
        if self.pos_embed is not None:
            x = x + self.pos_embed[:tokens]
        else:
            x = x + sinusoids(tokens, x.shape[2]).to(device=x.device, dtype=x.dtype)
        x = self.drop(x)

        for block in self.blocks:
            x = block(x, key_mask)
        x = self.norm(x)

        if self.cls_token is not None:
            pooled = x[:, 0]
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
