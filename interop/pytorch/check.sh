#!/usr/bin/env bash
# Trains a small checkpoint with edgectl and checks that PyTorch gives the same logits for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=$(interop/pytorch/venv.sh)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

edgectl() { cargo run --release --quiet -p edgectl -- "$@"; }
edgectl train --config examples/basicmotions.toml --data data/basicmotions --out "$tmp/m.safetensors"
edgectl predict --model "$tmp/m.safetensors" --data data/basicmotions \
    --out "$tmp/p.csv" --tensors "$tmp/w.safetensors"
"$python" interop/pytorch/check_logits.py --model "$tmp/m.safetensors" --tensors "$tmp/w.safetensors"

# And back: an update that PyTorch saved is merged with one of edgectl.
PYTHONPATH=interop/pytorch "$python" - "$tmp" <<'PY'
import sys
from edgectl_model import load, save
model, meta = load(f"{sys.argv[1]}/m.safetensors")
save(model, f"{sys.argv[1]}/torch.safetensors", meta, node="torch", examples=40)
PY
edgectl aggregate "$tmp/m.safetensors" "$tmp/torch.safetensors" --out "$tmp/merged.safetensors"
edgectl eval --model "$tmp/merged.safetensors" --data data/basicmotions | head -1

# Checkpoints of PyTorch alone.
"$python" interop/pytorch/check_merge.py --edgectl "${CARGO_TARGET_DIR:-target}/release/edgectl"
