"""Merges two checkpoints that PyTorch saved, and loads the result, whole and in shards.

    python interop/pytorch/check_merge.py --edgectl target/release/edgectl
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def model(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    layer = torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def load_sharded(index: Path) -> dict[str, torch.Tensor]:
    """As `transformers` does: the index says which file holds which tensor."""
    names = json.loads(index.read_text())["weight_map"]
    shards = {name: load_file(index.parent / name) for name in set(names.values())}
    return {tensor: shards[shard][tensor] for tensor, shard in names.items()}


# One unit in the last place: PyTorch rounds 64 to 16 bits in two steps, edgectl in one.
TOLERANCE = {torch.float32: 1e-6, torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}


def check(state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    model(0).load_state_dict(state)  # strict
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=TOLERANCE[value.dtype], atol=1e-7)
        assert state[name].dtype == value.dtype


def check_transformers(edgectl: str, folder: Path) -> str:
    """The same with a model of `transformers`, if it is installed."""
    try:
        from transformers import LlamaConfig, LlamaForCausalLM
    except ImportError:
        return "transformers is not installed: not tried"
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 256}
    config = LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes)
    models = []
    for name, seed in [("x", 1), ("y", 2)]:
        torch.manual_seed(seed)
        models.append(LlamaForCausalLM(config))
        models[-1].save_pretrained(folder / name, max_shard_size="100KB")
    index = "model.safetensors.index.json"
    (folder / "z").mkdir()
    config.save_pretrained(folder / "z")
    command = [edgectl, "aggregate", folder / "x" / index, folder / "y" / index, "--weights", "0.7,0.3"]
    subprocess.run([*command, "--out", folder / "z" / index, "--shard-size", "100KB"], check=True)
    merged = LlamaForCausalLM.from_pretrained(folder / "z")
    x, y = (m.state_dict() for m in models)
    for name, value in merged.state_dict().items():
        torch.testing.assert_close(value, 0.7 * x[name] + 0.3 * y[name], rtol=1e-6, atol=1e-7)
    return "transformers loads the merged shards"


def main() -> None:
    parser = argparse.ArgumentParser(description="merge what PyTorch saved")
    parser.add_argument("--edgectl", default="edgectl", help="the binary")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for half in [torch.float32, torch.bfloat16, torch.float16]:
            states = [model(seed).to(half).state_dict() for seed in (1, 2)]
            for path, state in zip("ab", states):
                save_file(state, folder / f"{path}.safetensors", metadata={"format": "pt"})
            a, b = states
            expected = {k: (0.7 * a[k].double() + 0.3 * b[k].double()).to(half) for k in a}
            inputs = [folder / "a.safetensors", folder / "b.safetensors", "--weights", "0.7,0.3"]
            for out in ["c.safetensors", "c.safetensors.index.json"]:
                command = [args.edgectl, "aggregate", *inputs, "--out", folder / out, "--quiet"]
                subprocess.run([*command, "--shard-size", "50KB"], check=True, stdout=subprocess.PIPE)
            check(load_file(folder / "c.safetensors"), expected)
            check(load_sharded(folder / "c.safetensors.index.json"), expected)
            with safe_open(folder / "c.safetensors", "pt") as file:
                assert file.metadata()["format"] == "pt"
            print(f"{half}: PyTorch loads the merged file, whole and in shards")
        print(check_transformers(args.edgectl, folder))


if __name__ == "__main__":
    main()
