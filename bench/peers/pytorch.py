"""PyTorch eager, and its module compiled."""

import logging
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F

import cases
from cases import Attention, Model, Optimizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "interop" / "pytorch"))
from edgectl_model import EdgectlEncoder  # noqa: E402

logging.getLogger("torch.onnx").setLevel(logging.ERROR)
torch.set_num_threads(len(os.sched_getaffinity(0)))


class TorchEncoder(nn.Module):
    """The same model by torch.nn.TransformerEncoder."""

    def __init__(self, s: Model):
        super().__init__()
        self.embed = nn.Linear(s.channels, s.d_model)
        self.pos_embed = nn.Parameter(torch.zeros(s.seq, s.d_model))
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        layer = nn.TransformerEncoderLayer(s.d_model, s.heads, s.d_ff, **options)
        norm = nn.LayerNorm(s.d_model)
        self.encoder = nn.TransformerEncoder(layer, s.layers, norm, enable_nested_tensor=False)
        self.head = nn.Linear(s.d_model, cases.N_CLASSES)
        self.load_state_dict({self.renamed(n): torch.tensor(w) for n, w in cases.weights(s).items()})

    @staticmethod
    def renamed(name: str) -> str:
        """An edgectl tensor's name in this module."""
        name = name.replace("patch_embed.proj", "embed").replace("blocks.", "encoder.layers.")
        name = name.replace("attn.qkv.", "self_attn.in_proj_").replace("attn.proj", "self_attn.out_proj")
        name = name.replace("mlp.fc1", "linear1").replace("mlp.fc2", "linear2")
        return f"encoder.{name}" if name.startswith("norm") else name

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, seq, channels]` to logits `[batch, n_classes]`."""
        return self.head(self.encoder(self.embed(x) + self.pos_embed).mean(dim=1))


def module(s: Model) -> EdgectlEncoder:
    """The same model by the module that reads edgectl's checkpoints."""
    sizes = {"channels": s.channels, "seq_len": s.seq, "patch_len": 1, "d_model": s.d_model}
    sizes |= {"n_heads": s.heads, "n_layers": s.layers, "d_ff": s.d_ff, "dropout": 0.0}
    task = {"kind": "classification", "n_classes": cases.N_CLASSES}
    encoder = EdgectlEncoder({**sizes, "positions": "learned", "pooling": "mean", "task": task})
    encoder.load_state_dict({name: torch.tensor(w) for name, w in cases.weights(s).items()})
    return encoder


def compiled(s: Model) -> nn.Module:
    return torch.compile(module(s))


MODULES = {"module": module, "nn.TransformerEncoder": TorchEncoder, "compiled": compiled}

OPTIMIZERS = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "amsgrad": partial(optim.Adam, amsgrad=True),
    "adamw": optim.AdamW,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
    "adagrad": optim.Adagrad,
    "rmsprop": optim.RMSprop,
}


def prepare(case: dict):
    """`case` has `task`, `shape`, and `module`, `backward`, `form` or `path`."""
    match case["task"]:
        case "train":
            return train(Model(*case["shape"]), case["module"])
        case "infer":
            return infer(Model(*case["shape"]), case["module"])
        case "attention":
            return attention(Attention(*case["shape"]), case["backward"])
        case "optimizer":
            return optimizer_step(Optimizer(*case["shape"]), case["form"])
        case "export":
            return export(Model(*case["shape"]), case["path"])
        case "matmul":
            return matmul()
    raise ValueError(f"no task {case['task']!r}")


def train(s: Model, name: str):
    """Training steps on one fixed batch; the check is the losses of the first three."""
    model = MODULES[name](s).train()
    x, targets = map(torch.tensor, cases.batch(s))
    optimizer = optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), targets)
        loss.backward()
        optimizer.step()
        return loss

    return step, [step().item() for _ in range(3)]


def infer(s: Model, name: str):
    """A forward pass; the check is the logits."""
    model, x = MODULES[name](s).eval(), torch.tensor(cases.batch(s)[0])

    def step() -> Tensor:
        with torch.inference_mode():
            return model(x)

    return step, step().flatten().tolist()


def attention(s: Attention, backward: bool):
    """Scaled dot product attention of contiguous `[batch, heads, seq, head_dim]`."""
    swapped = (np.ascontiguousarray(a.transpose(0, 2, 1, 3)) for a in cases.tokens(s))
    q, k, v, d_out = map(torch.from_numpy, swapped)
    if not backward:
        with torch.no_grad():
            check = F.scaled_dot_product_attention(q, k, v)[0, 0, 0].tolist()

        def step() -> Tensor:
            with torch.no_grad():
                return F.scaled_dot_product_attention(q, k, v)

        return step, check
    inputs = [part.requires_grad_() for part in (q, k, v)]

    def step_back() -> tuple[Tensor, ...]:
        return torch.autograd.grad(F.scaled_dot_product_attention(*inputs), inputs, d_out)

    return step_back, [value for grad in step_back() for value in grad[0, 0, 0].tolist()]


def optimizer_step(s: Optimizer, form: str):
    """A step over one tensor with a fixed gradient; edgectl gives nothing to check it against."""
    parameter = nn.Parameter(torch.randn(s.params))
    parameter.grad = torch.randn(s.params)
    options = {"foreach" if form == "compiled" else form: True}
    step = OPTIMIZERS[s.name]([parameter], lr=1e-6, **options).step
    if form == "compiled":
        torch.compiler.reset()  # its limit of compilations is for all cases together
        step = torch.compile(step)
    for _ in range(3):  # makes the state, and compiles
        step()
    return step, []


def export(s: Model, path: str):
    """Writes the module as ONNX (version 20: the first with a GELU); there is nothing to time."""
    x = torch.tensor(cases.batch(s)[0])
    options = {"opset_version": 20, "input_names": ["x"], "output_names": ["logits"]}
    torch.onnx.export(module(s).eval(), (x,), path, dynamo=True, verbose=False, **options)
    return lambda: None, []


def matmul(n: int = 1024):
    """A plain matrix product: what a training step can be held against."""
    a, b, out = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
    return lambda: torch.mm(a, b, out=out), []
